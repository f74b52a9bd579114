"""A curl line, run: by curl where it is installed, else by a reading of the options that our documents use."""

import asyncio
import shlex
import shutil
import subprocess

import aiohttp


async def run_curl(line: str) -> bytes:
    """The body that the line gets."""
    program, *words = shlex.split(line)
    assert program == "curl"
    if shutil.which("curl"):
        curl = await asyncio.create_subprocess_exec("curl", "-sS", *words, stdout=subprocess.PIPE)
        answer, _ = await curl.communicate()
        return answer
    headers: dict[str, str] = {}
    data = None
    while len(words) > 1:
        option, value, *words = words
        if option == "-H":
            name, _, text = value.partition(": ")
            headers[name] = text
        else:
            assert option == "-d", f"this reading of curl does not know {option}"
            data = value.encode()
    async with aiohttp.ClientSession() as session, session.post(words[0], data=data, headers=headers) as response:
        return await response.read()
