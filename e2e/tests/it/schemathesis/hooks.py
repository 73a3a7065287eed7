"""What schemathesis needs to know of this API: how webhooks are signed.

Three of four webhooks get the signature that they need, whatever was generated for it; the rest go as they are.
"""

import hashlib
import hmac
import os
import time

import requests
import schemathesis

LITELLM = os.environ["OPENAPI_LITELLM_SECRET"].encode()
STRIPE = os.environ["OPENAPI_STRIPE_SECRET"].encode()


class Signed(requests.auth.AuthBase):
    def __call__(self, request):
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        if not isinstance(body, bytes) or hashlib.sha256(body).digest()[0] % 4 == 0:
            return request
        if "/webhooks/litellm/limit-exceeded" in request.url:
            # Standard Webhooks headers would be looked at first.
            for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
                request.headers.pop(name, None)
            request.headers["x-webhook-signature"] = "sha256=" + hmac.new(LITELLM, body, "sha256").hexdigest()
        if "/webhooks/stripe" in request.url:
            now = str(int(time.time()))
            tag = hmac.new(STRIPE, now.encode() + b"." + body, "sha256").hexdigest()
            request.headers["Stripe-Signature"] = f"t={now},v1={tag}"
        return request


schemathesis.auth.set_from_requests(Signed()).apply_to(path_regex="^/webhooks/(litellm/limit-exceeded|stripe)$")
