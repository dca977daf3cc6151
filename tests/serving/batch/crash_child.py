"""Works a job off, telling on stdout what has been recorded; or is killed on the way.

Run as a program by test_crash.py: the arguments are the folder of the stores, and the input's and output's names.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from batch_bench import ADA, MODEL, opened  # found through the path that was just added


async def main(folder: Path, source: str, output: str) -> None:
    async with opened(folder) as bench:
        order = bench.order(source, output, resume=True)
        async for job in bench.service.run(ADA, MODEL, order):
            print(job.state, job.chunks, flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
