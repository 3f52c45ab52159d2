{{/* The container, for the chart's own pods and for those of others. */}}
{{- define "moderation-consumer.container" -}}
{{- $sidecar := eq .Values.mode "sidecar" -}}
- name: moderation-consumer
  image: {{ include "moderation-consumer.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  {{- if and $sidecar .Values.sidecar.native }}
  restartPolicy: Always
  {{- end }}
  args:
    - run
    - /etc/moderation-consumer/config.yaml
    {{- if include "moderation-consumer.secret.config" . }}
    - /run/secrets/moderation-consumer/config/config.yaml
    {{- end }}
  {{- with include "moderation-consumer.env" . }}
  env:
    {{- . | nindent 4 }}
  {{- end }}
  ports:
    - name: mod-admin
      containerPort: {{ include "moderation-consumer.adminPort" . }}
    {{- if include "moderation-consumer.callbackUrl" . }}
    - name: mod-callbacks
      containerPort: {{ include "moderation-consumer.callbackPort" . }}
    {{- end }}
  {{- if not $sidecar }}
  # Passes as soon as the port is open: whether it works is for readiness to say.
  startupProbe:
    httpGet:
      path: /livez
      port: mod-admin
    periodSeconds: 2
    timeoutSeconds: 5
    failureThreshold: 30
  {{- end }}
  # Whether the process turns, and nothing else: an outage of the service must not kill it.
  livenessProbe:
    httpGet:
      path: /livez
      port: mod-admin
    {{- if $sidecar }}
    initialDelaySeconds: 10
    {{- end }}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  {{- if not $sidecar }}
  readinessProbe:
    httpGet:
      path: /readyz
      port: mod-admin
    periodSeconds: 5
    timeoutSeconds: 5
  {{- end }}
  securityContext:
    {{- toYaml .Values.securityContext | nindent 4 }}
  resources:
    {{- toYaml .Values.resources | nindent 4 }}
  volumeMounts:
    - name: moderation-consumer-config
      mountPath: /etc/moderation-consumer
      readOnly: true
    {{- if include "moderation-consumer.secret.config" . }}
    - name: moderation-consumer-secret-config
      mountPath: /run/secrets/moderation-consumer/config
      readOnly: true
    {{- end }}
    {{- if include "moderation-consumer.tls" . }}
    - name: moderation-consumer-tls
      mountPath: /run/secrets/moderation-consumer/tls
      readOnly: true
    {{- end }}
    {{- if .Values.kafkaOauth.tokenAudience }}
    - name: moderation-consumer-kafka
      mountPath: /run/secrets/moderation-consumer/kafka
      readOnly: true
    {{- end }}
    {{- if .Values.rrsa.roleArn }}
    - name: moderation-consumer-rrsa
      mountPath: /run/secrets/moderation-consumer/rrsa
      readOnly: true
    {{- end }}
    {{- with .Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{- define "moderation-consumer.image" -}}
{{- .Values.image.repository -}}:{{- .Values.image.tag | default .Chart.AppVersion -}}
{{- with .Values.image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* Not empty where certificates are mounted. */}}
{{- define "moderation-consumer.tls" -}}
{{- include "moderation-consumer.secret.ca" . -}}
{{- .Values.kafkaTls.ca.existingConfigMap -}}
{{- include "moderation-consumer.secret.client" . -}}
{{- end -}}

{{- define "moderation-consumer.secretVariable" -}}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
      {{- if .optional }}
      optional: true
      {{- end }}
{{ end -}}

{{- define "moderation-consumer.env" -}}
{{- $values := .Values -}}
{{- with include "moderation-consumer.secret.credentials" . -}}
{{- include "moderation-consumer.secretVariable" (dict "variable" "ALIBABA_CLOUD_ACCESS_KEY_ID" "secret" . "key" $values.credentials.accessKeyIdKey) -}}
{{- include "moderation-consumer.secretVariable" (dict "variable" "ALIBABA_CLOUD_ACCESS_KEY_SECRET" "secret" . "key" $values.credentials.accessKeySecretKey) -}}
{{- include "moderation-consumer.secretVariable" (dict "variable" "ALIBABA_CLOUD_SECURITY_TOKEN" "secret" . "key" $values.credentials.securityTokenKey "optional" true) -}}
{{- end -}}
{{- if .Values.rrsa.roleArn -}}
- name: ALIBABA_CLOUD_ROLE_ARN
  value: {{ .Values.rrsa.roleArn | quote }}
- name: ALIBABA_CLOUD_OIDC_PROVIDER_ARN
  value: {{ .Values.rrsa.oidcProviderArn | quote }}
- name: ALIBABA_CLOUD_OIDC_TOKEN_FILE
  value: /run/secrets/moderation-consumer/rrsa/token
{{ end -}}
{{- with include "moderation-consumer.secret.kafkaUser" . -}}
{{- if not (include "moderation-consumer.kafkaUserName" $) -}}
{{- include "moderation-consumer.secretVariable" (dict "variable" "MODERATION__KAFKA__SECURITY__SASL_USERNAME" "secret" . "key" $values.kafkaUser.usernameKey) -}}
{{- end -}}
{{- include "moderation-consumer.secretVariable" (dict "variable" "MODERATION__KAFKA__SECURITY__SASL_PASSWORD" "secret" . "key" $values.kafkaUser.passwordKey) -}}
{{- end -}}
{{- with include "moderation-consumer.secret.kafkaOauth" . -}}
{{- include "moderation-consumer.secretVariable" (dict "variable" "MODERATION__KAFKA__SECURITY__OAUTH_CLIENT_ID" "secret" . "key" $values.kafkaOauth.clientIdKey) -}}
{{- include "moderation-consumer.secretVariable" (dict "variable" "MODERATION__KAFKA__SECURITY__OAUTH_CLIENT_SECRET" "secret" . "key" $values.kafkaOauth.clientSecretKey) -}}
{{- end -}}
{{- if .Values.kafkaOauth.tokenAudience -}}
- name: MODERATION__KAFKA__SECURITY__OAUTH_TOKEN_FILE
  value: /run/secrets/moderation-consumer/kafka/token
{{ end -}}
{{- if or (include "moderation-consumer.secret.ca" .) .Values.kafkaTls.ca.existingConfigMap -}}
- name: MODERATION__KAFKA__SECURITY__CA_FILE
  value: /run/secrets/moderation-consumer/tls/ca.crt
{{ end -}}
{{- if include "moderation-consumer.secret.client" . -}}
- name: MODERATION__KAFKA__SECURITY__CERTIFICATE_FILE
  value: /run/secrets/moderation-consumer/tls/tls.crt
- name: MODERATION__KAFKA__SECURITY__KEY_FILE
  value: /run/secrets/moderation-consumer/tls/tls.key
{{ end -}}
{{- with include "moderation-consumer.secret.callbacks" . -}}
{{- include "moderation-consumer.secretVariable" (dict "variable" "MODERATION__CALLBACKS__SECRET" "secret" . "key" $values.callbackSecret.key) -}}
{{- end -}}
{{- with .Values.extraEnv -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* What the container's mounts need. Whole folders are mounted, so that a certificate that is renewed arrives. */}}
{{- define "moderation-consumer.volumes" -}}
- name: moderation-consumer-config
  configMap:
    name: {{ include "moderation-consumer.fullname" . }}
{{- with include "moderation-consumer.secret.config" . }}
- name: moderation-consumer-secret-config
  secret:
    secretName: {{ . }}
    items:
      - key: {{ $.Values.secretConfig.key }}
        path: config.yaml
{{- end }}
{{- if include "moderation-consumer.tls" . }}
- name: moderation-consumer-tls
  projected:
    sources:
      {{- with .Values.kafkaTls.ca.existingConfigMap }}
      - configMap:
          name: {{ . }}
          items:
            - key: {{ $.Values.kafkaTls.ca.key }}
              path: ca.crt
      {{- end }}
      {{- with include "moderation-consumer.secret.ca" . }}
      - secret:
          name: {{ . }}
          items:
            - key: {{ $.Values.kafkaTls.ca.key }}
              path: ca.crt
      {{- end }}
      {{- with include "moderation-consumer.secret.client" . }}
      - secret:
          name: {{ . }}
          items:
            - key: {{ $.Values.kafkaTls.client.certificateKey }}
              path: tls.crt
            - key: {{ $.Values.kafkaTls.client.privateKeyKey }}
              path: tls.key
      {{- end }}
{{- end }}
{{- if .Values.kafkaOauth.tokenAudience }}
- name: moderation-consumer-kafka
  projected:
    sources:
      - serviceAccountToken:
          audience: {{ .Values.kafkaOauth.tokenAudience | quote }}
          expirationSeconds: 3600
          path: token
{{- end }}
{{- if .Values.rrsa.roleArn }}
- name: moderation-consumer-rrsa
  projected:
    sources:
      - serviceAccountToken:
          audience: sts.aliyuncs.com
          expirationSeconds: {{ .Values.rrsa.tokenExpirationSeconds }}
          path: token
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
