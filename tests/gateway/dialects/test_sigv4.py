"""Signatures against AWS's published examples, and against AWS's own library."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.errors import Misconfigured
from stanchion.gateway.dialects.sigv4 import AwsKey, Signer, authorised, region_of
from stanchion.testing.upstreams import Call, SigningKey
from stanchion.testing.upstreams.families.aws import signed

# The key and the moment of AWS's examples and of its published test suite.
KEY = AwsKey("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
FORM = "application/x-www-form-urlencoded; charset=utf-8"
LISTED = "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08"


HOST = "https://example.amazonaws.com/"
PUBLISHED = {
    "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7": ("iam", "GET", LISTED, {"Content-Type": FORM}),
    "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31": ("service", "GET", HOST, {}),
    "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b": ("service", "POST", HOST, {}),
    "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea": (
        "service",
        "GET",
        HOST,
        {"My-Header1": "value2,value2,value1"},
    ),
}


@pytest.mark.parametrize("signature", PUBLISHED)
def test_the_signatures_of_the_published_examples(signature: str) -> None:
    service, method, url, headers = PUBLISHED[signature]
    made = Signer("us-east-1", service).sign(KEY, method=method, url=url, headers=headers, body=b"", now=NOW)
    assert made["authorization"].endswith(f"Signature={signature}")
    assert made["x-amz-date"] == "20150830T123600Z"


parts = st.text(st.characters(codec="ascii", min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)


@given(
    model=st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable()),
    body=st.binary(max_size=60),
    query=st.dictionaries(parts, parts, max_size=3),
    value=parts,
    token=st.just("") | parts,
    moment=st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1)),
)
def test_a_signature_is_the_one_that_awss_own_library_makes(
    model: str, body: bytes, query: dict[str, str], value: str, token: str, moment: datetime
) -> None:
    now = moment.replace(tzinfo=UTC, microsecond=0)
    asked = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in query.items())
    url = f"https://bedrock-runtime.eu-west-1.amazonaws.com/model/{quote(model, safe='')}/converse" + (
        f"?{asked}" if asked else ""
    )
    headers = {"content-type": "application/json", "x-amzn-thing": value}
    key = AwsKey("AKID", "s3cr3t/+", token)
    request = AWSRequest("POST", url, data=body, headers=headers)
    theirs = SigV4Auth(Credentials("AKID", "s3cr3t/+", token or None), "bedrock", "eu-west-1")
    request.context["timestamp"] = now.strftime("%Y%m%dT%H%M%SZ")
    if token:
        request.headers["X-Amz-Security-Token"] = token
    request.headers["X-Amz-Date"] = request.context["timestamp"]
    wanted = theirs.signature(theirs.string_to_sign(request, theirs.canonical_request(request)), request)
    made = Signer("eu-west-1").sign(key, method="POST", url=url, headers=headers, body=body, now=now)
    assert made["authorization"].rpartition("Signature=")[2] == wanted


@given(
    body=st.binary(max_size=60),
    token=st.just("") | parts,
    change=st.sampled_from(["", "body", "path", "secret", "token"]),
)
def test_the_scripted_upstream_takes_a_signature_and_sees_every_change(body: bytes, token: str, change: str) -> None:
    url = "http://127.0.0.1:80/model/anthropic.claude-v1%3A0/converse"
    key = AwsKey("AKID", "secret" if change != "secret" else "Secret", token)
    headers = {"content-type": "application/json"}
    made = Signer("us-east-1").sign(key, method="POST", url=url, headers=headers, body=body, now=NOW)
    call = Call(
        number=0,
        kind="chat",
        model="m",
        stream=False,
        prompt="",
        method="POST",
        path=urlsplit(url).path + ("x" if change == "path" else ""),
        query={},
        headers={**headers, "host": "127.0.0.1:80", **made},
        raw=body + (b"x" if change == "body" else b""),
        body={},
        at=NOW + timedelta(seconds=1),
    )
    known = SigningKey("AKID", "secret", "us-east-1", token + ("x" if change == "token" else ""))
    assert signed(call, known, "bedrock") is (change == "")


@pytest.mark.parametrize(
    "text",
    [
        "AKID:a/b+c",
        "AKID:a/b+c:",
        ' {"AccessKeyId": "AKID", "SecretAccessKey": "a/b+c"}\n',
        '{"Credentials": {"AccessKeyId": "AKID", "SecretAccessKey": "a/b+c", "Expiration": "2026"}}',
    ],
)
def test_a_key_is_read_in_the_forms_that_people_have_it_in(text: str) -> None:
    key = AwsKey.parse(text)
    assert key is not None
    assert (key.id, key.secret, key.token) == ("AKID", "a/b+c", "")
    assert "a/b+c" not in f"{key} {key!r}"


def test_a_session_token_is_sent_and_signed() -> None:
    url = "https://bedrock-runtime.us-gov-west-1.amazonaws.com/model/m/converse"
    made = authorised("AKID:secret:token", url=url, headers={}, body=b"{}", now=NOW)
    assert made["x-amz-security-token"] == "token"
    assert (
        "us-gov-west-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date;x-amz-security-token"
        in made["authorization"]
    )


def test_a_bedrock_api_key_needs_no_signature_and_no_region() -> None:
    made = authorised("bedrock-api-key-abc\n", url="http://127.0.0.1:1/model/m/converse", headers={}, body=b"", now=NOW)
    assert made == {"authorization": "Bearer bedrock-api-key-abc"}


@pytest.mark.parametrize("text", ["AKID:", ":secret", "{", "{}", '{"AccessKeyId": "AKID"}'])
def test_half_a_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        authorised(text, url="https://bedrock-runtime.eu-west-1.amazonaws.com/", headers={}, body=b"", now=NOW)
    assert "AKID" not in refused.value.detail


def test_a_host_without_a_region_needs_one_declared() -> None:
    with pytest.raises(Misconfigured, match="region"):
        region_of("http://127.0.0.1:80/model/m/converse")
    made = authorised("A:b", url="http://127.0.0.1:80/", headers={}, body=b"", now=NOW, region="eu-west-3")
    assert "/eu-west-3/" in made["authorization"]


def test_the_host_knows_the_region_better_than_a_declared_place_of_data() -> None:
    private = "https://vpce-1.bedrock-runtime.eu-west-1.vpce.amazonaws.com/model/m/converse"
    assert region_of(private, "eu") == "eu-west-1"
