{{- define "moderation-consumer.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "moderation-consumer.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The full name with an ending, within the 63 characters that a name may have. */}}
{{- define "moderation-consumer.named" -}}
{{- $ending := index . 1 -}}
{{- printf "%s-%s" (include "moderation-consumer.fullname" (index . 0) | trunc (int (sub 62 (len $ending))) | trimSuffix "-") $ending -}}
{{- end -}}

{{/* What our pods are known by. In another chart's pods it is the label that `moderation-consumer.sidecar.labels` adds. */}}
{{- define "moderation-consumer.selectorLabels" -}}
{{- if eq .Values.mode "sidecar" -}}
moderation-consumer/sidecar: {{ include "moderation-consumer.fullname" . }}
{{- else -}}
app.kubernetes.io/name: {{ include "moderation-consumer.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- end -}}

{{- define "moderation-consumer.labels" -}}
app.kubernetes.io/name: {{ include "moderation-consumer.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "moderation-consumer.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "moderation-consumer.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/*
A key of the program's configuration, or what it is by default: (list . "admin.port" 9464), as `{"is": …}` in JSON. The
program checks the configuration; here nothing may break on what is odd in it.
*/}}
{{- define "moderation-consumer.key" -}}
{{- $found := dict "is" (index . 0).Values.config -}}
{{- range splitList "." (index . 1) -}}
{{- if kindIs "map" $found.is -}}
{{- $_ := set $found "is" (get $found.is .) -}}
{{- else -}}
{{- $_ := set $found "is" nil -}}
{{- end -}}
{{- end -}}
{{- if or (kindIs "invalid" $found.is) (eq (toString $found.is) "") -}}
{{- $_ := set $found "is" (index . 2) -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* The same for a number or a word, as it is. */}}
{{- define "moderation-consumer.setting" -}}
{{- (include "moderation-consumer.key" . | fromJson).is -}}
{{- end -}}

{{/* The port of /metrics, /livez, /readyz and /status, where the program's configuration has it. */}}
{{- define "moderation-consumer.adminPort" -}}
{{- include "moderation-consumer.setting" (list . "admin.port" 9464) | int -}}
{{- end -}}

{{- define "moderation-consumer.callbackPort" -}}
{{- include "moderation-consumer.setting" (list . "callbacks.port" 9465) | int -}}
{{- end -}}

{{/* Not empty where callbacks are received. */}}
{{- define "moderation-consumer.callbackUrl" -}}
{{- include "moderation-consumer.setting" (list . "callbacks.url" "") -}}
{{- end -}}

{{/* What a pod is replaced for when it changes. */}}
{{- define "moderation-consumer.configFile" -}}
{{- toYaml .Values.config -}}
{{- end -}}

{{/* The smallest of the account's limits in whole calls a second: how many replicas `share` can use. */}}
{{- define "moderation-consumer.smallestLimit" -}}
{{- $least := 1000000 -}}
{{- range $name, $default := dict "text" 50 "image" 100 "image_llm" 50 "multimodal_submit" 10 "multimodal_query" 10 -}}
{{- $least = min $least (include "moderation-consumer.setting" (list $ (printf "quota.%s_per_second" $name) $default) | float64 | int) -}}
{{- end -}}
{{- $least -}}
{{- end -}}

{{/* The seconds that a stop may take: all of `config.shutdown`, and five for the process itself. */}}
{{- define "moderation-consumer.stopSeconds" -}}
{{- $drain := include "moderation-consumer.setting" (list . "shutdown.drain_seconds" 10) | float64 -}}
{{- $flush := include "moderation-consumer.setting" (list . "shutdown.flush_seconds" 5) | float64 -}}
{{- $leave := include "moderation-consumer.setting" (list . "shutdown.leave_seconds" 2) | float64 -}}
{{- addf $drain $flush $leave 5 | ceil | int -}}
{{- end -}}

{{/*
The grace period. Where the brokers are gone too, each of seven clients takes up to `leave_seconds` and a second to be
closed, one after the other; ten seconds are to spare.
*/}}
{{- define "moderation-consumer.graceSeconds" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds -}}
{{- $leave := include "moderation-consumer.setting" (list . "shutdown.leave_seconds" 2) | float64 -}}
{{- addf (include "moderation-consumer.stopSeconds" . | float64) (mulf 6 $leave) 11 | ceil | int -}}
{{- else -}}
{{- .Values.terminationGracePeriodSeconds | int -}}
{{- end -}}
{{- end -}}

{{/*
The Secret to take something from: (list . "its own name" "key" …). Without a name of its own it is the external one, if
that has all the keys; else nothing.
*/}}
{{- define "moderation-consumer.secretName" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- if $name -}}
{{- $name -}}
{{- else if $root.Values.externalSecret.enabled -}}
{{- $all := true -}}
{{- range slice . 2 -}}
{{- if not (hasKey $root.Values.externalSecret.data .) -}}{{- $all = false -}}{{- end -}}
{{- end -}}
{{- if $all -}}{{- include "moderation-consumer.named" (list $root "external") -}}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "moderation-consumer.secret.config" -}}
{{- include "moderation-consumer.secretName" (list . .Values.secretConfig.existingSecret .Values.secretConfig.key) -}}
{{- end -}}

{{- define "moderation-consumer.secret.credentials" -}}
{{- include "moderation-consumer.secretName" (list . .Values.credentials.existingSecret .Values.credentials.accessKeyIdKey .Values.credentials.accessKeySecretKey) -}}
{{- end -}}

{{- define "moderation-consumer.secret.kafkaUser" -}}
{{- if include "moderation-consumer.kafkaUserName" . -}}
{{- include "moderation-consumer.secretName" (list . .Values.kafkaUser.existingSecret .Values.kafkaUser.passwordKey) -}}
{{- else -}}
{{- include "moderation-consumer.secretName" (list . .Values.kafkaUser.existingSecret .Values.kafkaUser.usernameKey .Values.kafkaUser.passwordKey) -}}
{{- end -}}
{{- end -}}

{{/* The user's name, where it is no secret. */}}
{{- define "moderation-consumer.kafkaUserName" -}}
{{- include "moderation-consumer.setting" (list . "kafka.security.sasl_username" "") -}}
{{- end -}}

{{- define "moderation-consumer.secret.kafkaOauth" -}}
{{- include "moderation-consumer.secretName" (list . .Values.kafkaOauth.existingSecret .Values.kafkaOauth.clientIdKey .Values.kafkaOauth.clientSecretKey) -}}
{{- end -}}

{{- define "moderation-consumer.secret.ca" -}}
{{- if not .Values.kafkaTls.ca.existingConfigMap -}}
{{- include "moderation-consumer.secretName" (list . .Values.kafkaTls.ca.existingSecret .Values.kafkaTls.ca.key) -}}
{{- end -}}
{{- end -}}

{{- define "moderation-consumer.secret.client" -}}
{{- include "moderation-consumer.secretName" (list . .Values.kafkaTls.client.existingSecret .Values.kafkaTls.client.certificateKey .Values.kafkaTls.client.privateKeyKey) -}}
{{- end -}}

{{- define "moderation-consumer.secret.callbacks" -}}
{{- include "moderation-consumer.secretName" (list . .Values.callbackSecret.existingSecret .Values.callbackSecret.key) -}}
{{- end -}}
