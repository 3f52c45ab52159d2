{{/* All that is wrong with the values and that the schema cannot say, at once. */}}
{{- define "moderation-consumer.checks" -}}
{{- $wrong := list -}}
{{- $v := .Values -}}
{{- $scale := include "moderation-consumer.setting" (list . "kafka.scale" "failover") -}}
{{- $protocol := include "moderation-consumer.setting" (list . "kafka.security.protocol" "PLAINTEXT") -}}
{{- $oauth := and (hasPrefix "SASL_" $protocol) (eq (include "moderation-consumer.setting" (list . "kafka.security.sasl_mechanism" "PLAIN")) "OAUTHBEARER") -}}
{{- $least := include "moderation-consumer.smallestLimit" . | int -}}
{{- $own := eq $v.mode "deployment" -}}

{{- range splitList "\n" (include "moderation-consumer.secretsIn" (list $v.config "config")) | compact -}}
{{- $wrong = append $wrong (printf "%s: a secret, and this becomes a ConfigMap; name a Secret that holds it (credentials, kafkaUser, kafkaOauth, callbackSecret, secretConfig)" .) -}}
{{- end -}}

{{- if not (kindIs "invalid" $v.terminationGracePeriodSeconds) -}}
{{- $needed := include "moderation-consumer.stopSeconds" . | int -}}
{{- if lt (int $v.terminationGracePeriodSeconds) $needed -}}
{{- $wrong = append $wrong (printf "terminationGracePeriodSeconds: %d s is less than the %d s that a stop may take (all of config.shutdown, and 5 s for the process); raise it, lower config.shutdown, or leave it out" (int $v.terminationGracePeriodSeconds) $needed) -}}
{{- end -}}
{{- end -}}

{{- if $own -}}
{{- if $v.keda.enabled -}}
{{- if ne $scale "share" -}}
{{- $wrong = append $wrong "keda.enabled: only with config.kafka.scale: share; with failover one replica works, and more of them judge no more" -}}
{{- end -}}
{{- $most := $v.keda.maxReplicaCount | default $least | int -}}
{{- if gt $most $least -}}
{{- $wrong = append $wrong (printf "keda.maxReplicaCount: %d is more than the %d whole calls a second of the smallest limit in config.quota; a replica beyond that has nothing to do" $most $least) -}}
{{- end -}}
{{- if gt (int $v.keda.minReplicaCount) $most -}}
{{- $wrong = append $wrong (printf "keda.minReplicaCount: %d is more than the %d replicas there may be at most" (int $v.keda.minReplicaCount) $most) -}}
{{- end -}}
{{- if and $oauth (not $v.keda.authenticationRef) -}}
{{- $wrong = append $wrong "keda.authenticationRef: not set, but needed with OAUTHBEARER; KEDA takes the token's endpoint from a TriggerAuthentication of yours" -}}
{{- else if and (hasPrefix "SASL_" $protocol) (not $v.keda.authenticationRef) (or (include "moderation-consumer.kafkaUserName" .) (not (include "moderation-consumer.secret.kafkaUser" .))) -}}
{{- $wrong = append $wrong "keda.enabled: KEDA needs the Kafka user, too, and takes its name and password from a Secret only; name one that holds both as kafkaUser.existingSecret, or a TriggerAuthentication as keda.authenticationRef" -}}
{{- end -}}
{{- else if and (eq $scale "share") (gt (int $v.replicaCount) $least) -}}
{{- $wrong = append $wrong (printf "replicaCount: %d is more than the %d whole calls a second of the smallest limit in config.quota; a replica beyond that has nothing to do" (int $v.replicaCount) $least) -}}
{{- end -}}
{{- else if $v.keda.enabled -}}
{{- $wrong = append $wrong "keda.enabled: not with mode: sidecar; the replicas are those of the pods it is put into" -}}
{{- end -}}

{{- if and $v.rrsa.roleName $v.rrsa.roleArn -}}
{{- $wrong = append $wrong "rrsa.roleArn: not beside rrsa.roleName; the first is for clusters without the add-on ack-pod-identity-webhook, the second for those with it" -}}
{{- end -}}
{{- if and $v.rrsa.roleArn (not $v.rrsa.oidcProviderArn) -}}
{{- $wrong = append $wrong "rrsa.oidcProviderArn: not set, but needed with rrsa.roleArn" -}}
{{- end -}}
{{- if and $v.rrsa.oidcProviderArn (not $v.rrsa.roleArn) -}}
{{- $wrong = append $wrong "rrsa.roleArn: not set, but needed with rrsa.oidcProviderArn" -}}
{{- end -}}
{{- if and $v.rrsa.roleName (not $v.serviceAccount.create) -}}
{{- $wrong = append $wrong "rrsa.roleName: it annotates the chart's service account, which serviceAccount.create: false does not make; annotate yours, or use rrsa.roleArn" -}}
{{- end -}}
{{- if and (or $v.rrsa.roleName $v.rrsa.roleArn) (include "moderation-consumer.secret.credentials" .) -}}
{{- $wrong = append $wrong "rrsa: not beside credentials; an AccessKey would be used, and the role never" -}}
{{- end -}}

{{- if and (include "moderation-consumer.tls" .) (not (hasSuffix "SSL" $protocol)) -}}
{{- $wrong = append $wrong (printf "kafkaTls: not used with config.kafka.security.protocol: %s; set it to SSL or SASL_SSL" $protocol) -}}
{{- end -}}
{{- if and (or $v.kafkaOauth.tokenAudience (include "moderation-consumer.secret.kafkaOauth" .)) (not $oauth) -}}
{{- $wrong = append $wrong "kafkaOauth: only used with a SASL_… protocol and sasl_mechanism: OAUTHBEARER in config.kafka.security" -}}
{{- end -}}
{{- if and $v.kafkaOauth.tokenAudience (include "moderation-consumer.secret.kafkaOauth" .) -}}
{{- $wrong = append $wrong "kafkaOauth: existingSecret and tokenAudience are both set; keep one" -}}
{{- end -}}
{{- if and (include "moderation-consumer.secret.kafkaUser" .) (not (hasPrefix "SASL_" $protocol)) -}}
{{- $wrong = append $wrong (printf "kafkaUser: not used with config.kafka.security.protocol: %s; set it to SASL_SSL or SASL_PLAINTEXT" $protocol) -}}
{{- end -}}
{{- if and $v.kafkaTls.ca.existingSecret $v.kafkaTls.ca.existingConfigMap -}}
{{- $wrong = append $wrong "kafkaTls.ca: existingSecret and existingConfigMap are both set; keep one" -}}
{{- end -}}
{{- if and $v.externalSecret.enabled (not $v.externalSecret.secretStoreRef.name) -}}
{{- $wrong = append $wrong "externalSecret.secretStoreRef.name: not set" -}}
{{- end -}}
{{- if and $v.externalSecret.enabled (not $v.externalSecret.data) -}}
{{- $wrong = append $wrong "externalSecret.data: empty; say where each key is in the store" -}}
{{- end -}}

{{- if and $v.podMonitor.enabled $v.serviceMonitor.enabled -}}
{{- $wrong = append $wrong "serviceMonitor.enabled: not beside podMonitor.enabled; everything would be counted twice" -}}
{{- end -}}
{{- $url := include "moderation-consumer.callbackUrl" . -}}
{{- if and $v.callbacks.ingress.enabled (not $url) -}}
{{- $wrong = append $wrong "callbacks.ingress.enabled: set config.callbacks.url, too; the ingress takes host and path from there" -}}
{{- end -}}
{{- if and (include "moderation-consumer.secret.callbacks" .) (not $url) -}}
{{- $wrong = append $wrong "callbackSecret: not used without config.callbacks.url" -}}
{{- end -}}

{{- $admin := include "moderation-consumer.adminPort" . | int -}}
{{- if not $admin -}}
{{- $wrong = append $wrong "config.admin.port: probes and Prometheus need a port that is known; leave it out for 9464" -}}
{{- end -}}
{{- if has (include "moderation-consumer.setting" (list . "admin.host" "0.0.0.0")) (list "127.0.0.1" "localhost" "::1") -}}
{{- $wrong = append $wrong "config.admin.host: probes and Prometheus come from outside of the pod; leave it out" -}}
{{- end -}}
{{- if $url -}}
{{- $callbacks := include "moderation-consumer.callbackPort" . | int -}}
{{- if or (not $callbacks) (eq $callbacks $admin) -}}
{{- $wrong = append $wrong "config.callbacks.port: needs a port of its own that is known; leave it out for 9465" -}}
{{- end -}}
{{- end -}}
{{- if include "moderation-consumer.setting" (list . "kafka.group_instance_id" "") -}}
{{- $wrong = append $wrong "config.kafka.group_instance_id: all replicas would have the same one and throw each other out of the group; leave it out" -}}
{{- end -}}

{{- if $wrong -}}
{{- fail (printf "\n  %s" (join "\n  " $wrong)) -}}
{{- end -}}
{{- end -}}

{{/*
The places of secrets in a part of the configuration, one a line. The keys of some sections are words of the users, not
ours: those are left out.
*/}}
{{- define "moderation-consumer.secretsIn" -}}
{{- $at := index . 1 -}}
{{- range $key, $value := index . 0 -}}
{{- $here := printf "%s.%s" $at $key -}}
{{- if has $here (list "config.mapping" "config.policy" "config.moderation.services" "config.moderation.prices") -}}
{{- else if kindIs "map" $value -}}
{{- include "moderation-consumer.secretsIn" (list $value $here) -}}
{{- else if and $value (regexMatch "(secret|password|passphrase|token)$" $key) -}}
{{- printf "%s\n" $here -}}
{{- end -}}
{{- end -}}
{{- end -}}
