"""Forms as browsers send them: small, in UTF-8, and of fields of text alone."""

from urllib.parse import parse_qsl

from starlette.requests import Request

from db.errors import UsageError

#: Bytes of a form, and its fields.
_MOST_BYTES, _MOST_FIELDS = 64 * 1024, 50


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form; raises `UsageError` for anything else."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            raise UsageError("this form is too large")
    try:
        return dict(
            parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        )
    except ValueError:
        raise UsageError("this is no form of ours") from None
