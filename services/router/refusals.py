"""What this room answers instead of a result: a code of the public API and a sentence. The gateway makes problems of them."""

from __future__ import annotations

from typing import Final

STATUS: Final = {
    "malformed": 400,
    "wrong_decimal": 400,
    "wrong_time": 400,
    "request_reused": 409,
    "not_ready": 503,
    "unknown_class": 404,
    "unknown_rental": 404,
    "rental_over": 409,
    "too_many_rentals": 422,
    "wrong_qty": 422,
    "wrong_price": 422,
    "wrong_amount": 422,
    "wrong_hours": 422,
    "wrong_webhook": 422,
}
"""`unknown_rental`, `rental_over`, `too_many_rentals` and `wrong_webhook` are this room's own."""


class Refused(Exception):
    """Nothing has changed."""

    def __init__(self, code: str, detail: str) -> None:
        assert code in STATUS, code
        super().__init__(detail)
        self.code = code
