"""The list in FastAPI and asyncpg, in an environment of its own: the statements come from the bench."""
# mypy: ignore-errors

import json
import os
from contextlib import asynccontextmanager

import asyncpg
from fastapi import FastAPI

STATEMENTS = json.loads(os.environ.get("BENCH_STATEMENTS", "{}"))


@asynccontextmanager
async def lifespan(app):
    app.state.pool = await asyncpg.create_pool(
        host=os.environ["POSTGRES_HOST"],
        port=int(os.environ["POSTGRES_PORT"]),
        user=os.environ["POSTGRES_USER"],
        password=os.environ["POSTGRES_PASSWORD"],
        database=os.environ["POSTGRES_DB"],
        min_size=4,
        max_size=8,
    )
    yield
    await app.state.pool.close()


app = FastAPI(lifespan=lifespan)


@app.get("/health/live")
async def live():
    return {"status": "live"}


@app.get("/api/v1/subscriptions")
async def listed(limit: int = 100):
    async with app.state.pool.acquire() as connection:
        rows = await connection.fetch(STATEMENTS["page"], limit, 0)
    return {"items": [dict(row) for row in rows], "total": rows[0]["total"] if rows else 0}
