"""The peer of the serving benchmark: FastAPI and pydantic check the request and write an answer, and decide nothing."""

from datetime import UTC, datetime

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field


class Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid")
    customer_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$")
    household_id: str | None = None
    channel: str | None = None
    placement: str | None = None
    time_zone: str | None = None
    segment: str | None = None
    seed: str | None = None
    idempotency_key: str | None = None


class Told(BaseModel):
    decision_id: str
    customer_id: str
    decided_at: datetime
    experiment: str
    arm: str
    action: str
    offer_id: str | None
    channel: str | None
    placement: str | None
    title: str
    text: str
    probability: float
    source: str
    degraded: bool
    code: str
    sentence: str
    scenario: str | None
    contact_cost: int
    unsubscribe: str | None
    recorded: bool


app = FastAPI()


@app.post("/v1/decisions")
async def decisions(asked: Wanted) -> Told:
    return Told(
        decision_id="d-647bed38244aab4fb855891d",
        customer_id=asked.customer_id,
        decided_at=datetime(2026, 3, 2, 12, tzinfo=UTC),
        experiment="none",
        arm="a",
        action="offer-1@email",
        offer_id="offer-1",
        channel="email",
        placement=None,
        title="Offer 1",
        text="Hello",
        probability=0.96,
        source="policy",
        degraded=False,
        code="chosen",
        sentence="The policy chose the treatment.",
        scenario=None,
        contact_cost=2,
        unsubscribe="/unsubscribe/" + "x" * 70,
        recorded=True,
    )
