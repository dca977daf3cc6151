"""Key-value on Redis or Valkey, shared by many machines. Expiry runs on the server's own clock."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from ...errors import Misconfigured, Unavailable
from ..contract import KeyValue
from .replies import Reads
from .rules import check_by, check_keys, check_ttl, not_a_counter, overflow

_SECONDS = 5.0

# The sum is read back as text: numbers in Lua are doubles, which are exact only to 53 bits.
_INCREMENT = """
local fresh = redis.call('EXISTS', KEYS[1]) == 0
redis.call('INCRBY', KEYS[1], ARGV[1])
if fresh and ARGV[2] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return redis.call('GET', KEYS[1])
"""
# An argument that may be absent comes with a mark before it: '+' and the value, or '-'.
_SWAP = """
local there = redis.call('GET', KEYS[1])
if (there and '+' .. there or '-') ~= ARGV[1] then return 0 end
if ARGV[2] == '-' then redis.call('DEL', KEYS[1])
elseif ARGV[3] == '' then redis.call('SET', KEYS[1], string.sub(ARGV[2], 2))
else redis.call('SET', KEYS[1], string.sub(ARGV[2], 2), 'PX', ARGV[3]) end
return 1
"""


class RedisKeyValue(KeyValue):
    """One Redis database; `prefix` stands before every key, so that several programs can share it."""

    def __init__(self, url: str, *, prefix: str = "") -> None:
        # No retries: the client cannot tell whether a lost increment was counted. A connection that died while
        # idle is noticed before it is used: with protocol 2 only, as 3 may send news to an idle connection.
        try:
            self._redis: Redis = Redis.from_url(
                url,
                protocol=2,
                socket_timeout=_SECONDS,
                socket_connect_timeout=_SECONDS,
                retry=Retry(NoBackoff(), 0),
            )
        except (TypeError, ValueError):
            raise Misconfigured("the Redis URL cannot be read; write redis://user@host:6379/0") from None
        self._reads = Reads(url, self._redis.connection_pool.connection_kwargs, _SECONDS)
        self._prefix = prefix.encode()
        self._increment = self._redis.register_script(_INCREMENT)
        self._swap = self._redis.register_script(_SWAP)

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        check_keys(keys)
        if not keys:
            return []
        names = [self._prefix + key.encode() for key in keys]
        if self._reads.plain:
            try:
                return await self._reads.get(names)
            except ConnectionError:
                pass  # the server was started anew, or is not there: the client below tells which
            except (RedisError, OSError):
                with _trouble():  # costs as much as reading a reply: not around every read
                    raise
        with _trouble():
            found = await self._redis.mget(names)
            return [value.encode() if isinstance(value, str) else value for value in found]

    async def set(self, items: Mapping[str, bytes], *, ttl: float | None = None) -> None:
        check_keys(items)
        check_ttl(ttl)
        if not items:
            return
        with _trouble():
            async with self._redis.pipeline(transaction=True) as pipeline:
                for key, value in items.items():
                    pipeline.set(self._name(key), value, px=_milliseconds(ttl))
                await pipeline.execute()

    async def delete(self, keys: Sequence[str]) -> int:
        check_keys(keys)
        if not keys:
            return 0
        with _trouble():
            return int(await self._redis.delete(*[self._name(key) for key in keys]))

    async def increment(self, key: str, by: int = 1, *, ttl: float | None = None) -> int:
        check_keys([key])
        check_ttl(ttl)
        check_by(by)
        with _trouble():
            return int(await self._increment(keys=[self._name(key)], args=[by, _milliseconds(ttl) or b""]))

    async def swap(self, key: str, expected: bytes | None, new: bytes | None, *, ttl: float | None = None) -> bool:
        check_keys([key])
        check_ttl(ttl)
        arguments = [_marked(expected), _marked(new), _milliseconds(ttl) or b""]
        with _trouble():
            return bool(await self._swap(keys=[self._name(key)], args=arguments))

    async def scan(self, prefix: str) -> AsyncIterator[str]:
        pattern = re.sub(rb"([*?\[\]^\\-])", rb"\\\1", self._name(prefix)) + b"*"
        seen: set[bytes] = set()  # the server may tell a key twice while its table grows
        with _trouble():
            async for key in self._redis.scan_iter(match=pattern, count=500):
                if key not in seen:
                    seen.add(key)
                    yield key[len(self._prefix) :].decode()

    async def close(self) -> None:
        self._reads.close()
        await self._redis.aclose()

    def _name(self, key: str) -> bytes:
        return self._prefix + key.encode()


def _milliseconds(ttl: float | None) -> int | None:
    return None if ttl is None else max(1, round(ttl * 1000))


def _marked(value: bytes | None) -> bytes:
    return b"-" if value is None else b"+" + value


@contextmanager
def _trouble() -> Iterator[None]:
    try:
        yield
    except ResponseError as error:
        if "not an integer" in str(error) or "WRONGTYPE" in str(error):
            raise not_a_counter() from error
        if "overflow" in str(error):
            raise overflow() from error
        raise Unavailable(f"the key-value server refused: {error}") from error
    except (RedisError, OSError) as error:
        raise Unavailable(f"the key-value server did not answer: {error}") from error
