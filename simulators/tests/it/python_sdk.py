"""Drives the Stripe simulator with Stripe's own SDK. Arguments: the simulator's URL."""

import json
import sys
import threading
import urllib.error
import urllib.request

import stripe

BASE = sys.argv[1]
client = stripe.StripeClient(
    "sk_test_python",
    base_addresses={"api": BASE},
    max_network_retries=0,
)
payment_intents = client.v1.payment_intents


def books():
    with urllib.request.urlopen(BASE + "/_sim/books") as answer:
        return json.load(answer)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def check(condition, words):
    if not condition:
        raise AssertionError(words)


def charge(customer, method, amount=2500, key=None, **more):
    params = {
        "amount": amount,
        "currency": "usd",
        "customer": customer,
        "payment_method": method,
        "off_session": True,
        "confirm": True,
        **more,
    }
    return payment_intents.create(params, {"idempotency_key": key} if key else {})


def raised(kind, action):
    try:
        action()
    except kind as error:
        check(type(error) is kind, f"{type(error).__name__} instead of {kind.__name__}")
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def customer_with(token):
    customer = client.v1.customers.create({"email": "jenny@example.com", "metadata": {"org": "acme"}})
    method = client.v1.payment_methods.attach(token, {"customer": customer.id})
    return customer.id, method.id


def test_charge_and_read():
    customer, method = customer_with("pm_card_visa")
    check(method.startswith("pm_") and method != "pm_card_visa", "a real id")
    client.v1.customers.update(customer, {"invoice_settings": {"default_payment_method": method}})
    read = client.v1.customers.retrieve(customer)
    check(read.invoice_settings.default_payment_method == method, "default payment method")
    check(read.metadata["org"] == "acme", "metadata")
    intent = charge(customer, method, metadata={"recharge_id": "r1"}, expand=["latest_charge.balance_transaction"])
    check(intent.status == "succeeded" and intent.amount_received == 2500, "succeeded")
    transaction = intent.latest_charge.balance_transaction
    check(transaction.fee == 103 and transaction.net == 2397, "fee")
    listed = client.v1.customers.payment_methods.list(customer)
    check([one.id for one in listed.data] == [method], "payment methods")


def test_decline():
    customer, method = customer_with("pm_card_visa_chargeDeclinedInsufficientFunds")
    error = raised(stripe.CardError, lambda: charge(customer, method))
    check(error.http_status == 402, "status")
    check(error.code == "card_declined", "code")
    check(error.error.decline_code == "insufficient_funds", "decline code")
    check(error.error.advice_code == "try_again_later", "advice code")
    check(error.error.payment_intent.status == "requires_payment_method", "payment intent")
    check(error.error.payment_method.id == method, "payment method")
    check(error.request_id.startswith("req_"), "request id")
    customer, method = customer_with("pm_card_authenticationRequired")
    error = raised(stripe.CardError, lambda: charge(customer, method))
    check(error.code == "authentication_required", "authentication")


def test_keys():
    customer, method = customer_with("pm_card_visa")
    first = charge(customer, method, key="python-1")
    again = charge(customer, method, key="python-1")
    check(first.id == again.id, "replayed")
    check(again.last_response.headers["Idempotent-Replayed"] == "true", "header")
    raised(stripe.IdempotencyError, lambda: charge(customer, method, amount=2600, key="python-1"))
    customer, method = customer_with("pm_card_chargeCustomerFail")
    errors = [raised(stripe.CardError, lambda: charge(customer, method, key="python-2")) for _ in range(2)]
    check(errors[0].error.payment_intent.id == errors[1].error.payment_intent.id, "402 replayed")


def test_concurrent_requests_with_one_key():
    customer, method = customer_with("pm_card_visa")
    intents, conflicts, others = [], [], []

    def one():
        try:
            intents.append(charge(customer, method, key="python-20").id)
        except stripe.APIError as error:
            (conflicts if error.http_status == 409 else others).append(error)
        except Exception as error:  # noqa: BLE001
            others.append(error)

    threads = [threading.Thread(target=one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(not others, f"unexpected: {others[:1]}")
    check(len(intents) + len(conflicts) == 20, "all answered")
    check(len(set(intents)) == 1, "one intent")
    check(all(error.error.code == "idempotency_key_in_use" for error in conflicts), "conflicts")
    check(len(books()["by_customer"][customer]["payment_intents"]) == 1, "one intent in the books")


def test_refunds():
    customer, method = customer_with("pm_card_visa")
    intent = charge(customer, method)
    refund = client.v1.refunds.create({"payment_intent": intent.id, "amount": 1000})
    check(refund.status == "succeeded" and refund.amount == 1000, "refund")
    over = raised(
        stripe.InvalidRequestError,
        lambda: client.v1.refunds.create({"payment_intent": intent.id, "amount": 1501}),
    )
    check("greater than unrefunded amount on charge ($15.00)" in over.user_message, over.user_message)
    client.v1.refunds.create({"payment_intent": intent.id})
    done = raised(
        stripe.InvalidRequestError, lambda: client.v1.refunds.create({"payment_intent": intent.id})
    )
    check(done.code == "charge_already_refunded", "already refunded")
    check(books()["by_customer"][customer]["refunded"] == 2500, "books")


def test_checkout():
    customer, _ = customer_with("pm_card_visa")
    wanted = {
        "mode": "setup",
        "customer": customer,
        "currency": "usd",
        "setup_intent_data": {"metadata": {"org": "acme"}},
        "success_url": "https://shop.example/done",
        "cancel_url": "https://shop.example/back",
    }
    session = client.v1.checkout.sessions.create({**wanted, "expand": ["setup_intent"]})
    check(session.status == "open" and session.url.startswith(BASE), "open")
    check(session.setup_intent.metadata["org"] == "acme", "metadata of the setup intent")
    page = urllib.request.Request(session.url, data=b"card=4242424242424242&button=save")
    try:
        urllib.request.build_opener(NoRedirect).open(page)
        raise AssertionError("no redirect")
    except urllib.error.HTTPError as answer:
        check(answer.code == 303 and answer.headers["location"] == wanted["success_url"], "redirect")
    read = client.v1.checkout.sessions.retrieve(session.id)
    check(read.status == "complete" and read.url is None, "complete")
    other = raised(
        stripe.InvalidRequestError,
        lambda: client.v1.checkout.sessions.create({**wanted, "mode": "payment"}),
    )
    check(other.param == "mode", "mode")
    late = client.v1.checkout.sessions.create(wanted)
    check(client.v1.checkout.sessions.expire(late.id).status == "expired", "expired")
    listed = client.v1.checkout.sessions.list({"customer": customer})
    check([one.id for one in listed.data] == [late.id, session.id], "list")


def test_errors():
    raised(stripe.InvalidRequestError, lambda: payment_intents.retrieve("pi_missing"))
    small = raised(
        stripe.InvalidRequestError, lambda: payment_intents.create({"amount": 49, "currency": "usd"})
    )
    check(small.code == "amount_too_small" and small.param == "amount", "amount_too_small")


def test_paging():
    customer, method = customer_with("pm_card_visa")
    made = [charge(customer, method, amount=100 + number).id for number in range(23)]
    listed = payment_intents.list({"customer": customer, "limit": 5})
    check(listed.has_more, "has_more")
    check([intent.id for intent in listed.auto_paging_iter()] == made[::-1], "all, newest first")


for name, test in list(globals().items()):
    if name.startswith("test_"):
        test()
        print("ok", name)
