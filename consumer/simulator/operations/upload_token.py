"""DescribeUploadToken: temporary credentials for the bucket that local images are uploaded to.

Both endpoints are the simulator itself, at the host it was called by. `PUT <endpoint>/<bucket>/<object>` is how OSS is
spoken to at an IP address, where the bucket cannot be part of the host's name; the official OSS SDKs do so unasked.
"""

from __future__ import annotations

from consumer.simulator.objects import BUCKET
from consumer.simulator.operations.operation import Answer, Asked, Operation


__all__ = ["OPERATION"]


def _issue(call: Asked) -> Answer:
    token = call.account.objects.issue_token(call.account.clock.now())
    endpoint = f"http://{call.host}"
    data = {
        "AccessKeyId": token.access_key_id,
        "AccessKeySecret": token.access_key_secret,
        "SecurityToken": token.security_token,
        "BucketName": BUCKET,
        "FileNamePrefix": token.prefix,
        "OssInternetEndPoint": endpoint,
        "OssInternalEndPoint": endpoint,
        "Expiration": token.expiration,
    }
    return Answer(200, "OK", data)


OPERATION = Operation(
    name="DescribeUploadToken",
    where="query",
    parameters=(),
    handler=_issue,
    quota="upload_token",
    over_quota=403,
    message_field="Msg",
    messages={200: "OK", 403: "qps limit exceeded", 408: "permission denied", 500: "system error"},
)
