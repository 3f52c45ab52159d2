{{/*
For other charts, which call these with this chart as it is among their dependencies:
(index .Subcharts "moderation-consumer"). README.md has an example.
*/}}

{{/* The container: for `containers`, or with `sidecar.native` for `initContainers`. */}}
{{- define "moderation-consumer.sidecar" -}}
{{- if ne .Values.mode "sidecar" -}}
{{- fail "\n  moderation-consumer.mode: set it to sidecar; else this release gets pods of its own beside the sidecar" -}}
{{- end -}}
{{- include "moderation-consumer.container" . -}}
{{- end -}}

{{/* Its volumes, for `volumes`. */}}
{{- define "moderation-consumer.sidecar.volumes" -}}
{{- include "moderation-consumer.volumes" . -}}
{{- end -}}

{{/* For the pod's annotations: what it is replaced for when it changes. */}}
{{- define "moderation-consumer.sidecar.annotations" -}}
checksum/moderation-consumer: {{ include "moderation-consumer.configFile" . | sha256sum }}
{{- end -}}

{{/* For the pod's labels: what the Services and monitors of this chart find it by. */}}
{{- define "moderation-consumer.sidecar.labels" -}}
{{- include "moderation-consumer.selectorLabels" . -}}
{{- end -}}

{{/* For the pod's `terminationGracePeriodSeconds`. */}}
{{- define "moderation-consumer.sidecar.graceSeconds" -}}
{{- include "moderation-consumer.graceSeconds" . -}}
{{- end -}}
