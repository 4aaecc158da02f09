"""Settings of the sentiment application."""

from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from shared.settings import AppSection

# Lowest first: each may do what those before it may.
ROLES: tuple[str, ...] = ("sentiment:viewer", "sentiment:analyst", "sentiment:admin")


class AppSettings(AppSection):
    """Address of the sentiment service, its windows, and when negative items are a surge.

    Windows are `window_minutes` long and one ends every `step_minutes`. The stream's present stands
    `grace_minutes` behind the newest item; items up to `horizon_hours` behind it still count.
    A surge is at least `floor` negatives whose number has a chance below `p_count`, and their share
    one below `p_share`, for `hold` windows in a row; it is over after `recover` windows whose
    number has a chance above `p_calm`.
    """

    port: int = 8102
    step_minutes: int = Field(15, ge=1, le=60)
    window_minutes: int = Field(60, ge=1, le=1_440)
    grace_minutes: int = Field(30, ge=0)
    horizon_hours: int = Field(72, ge=1)
    idle_s: float = Field(30, gt=0)  # a partition that stood at its end for so long holds nothing back
    floor: int = Field(4, ge=1)
    p_count: float = Field(1e-4, gt=0, lt=1)
    p_share: float = Field(0.01, gt=0, lt=1)
    p_calm: float = Field(0.05, gt=0, lt=1)
    hold: int = Field(2, ge=1)
    recover: int = Field(8, ge=1)
    cooldown_hours: int = Field(6, ge=0)  # a surge so soon after the last one joins its alert
    longest_days: int = Field(7, ge=1)  # what stays high for so long is the new usual
    learning_days: int = Field(7, ge=1)  # observed days before anything is judged
    history_days: int = Field(56, ge=7)  # observed days that count as usual
    batch: int = Field(256, ge=1, le=5_000)  # records that are scored and written together

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if 60 % self.step_minutes or self.window_minutes % self.step_minutes:
            raise ValueError("step_minutes must divide an hour, and window_minutes")
        return self

    @property
    def step(self) -> timedelta:
        """The distance of window ends."""
        return timedelta(minutes=self.step_minutes)

    @property
    def window(self) -> timedelta:
        """The length of a window."""
        return timedelta(minutes=self.window_minutes)

    @property
    def grace(self) -> timedelta:
        """How far the present stands behind the newest item."""
        return timedelta(minutes=self.grace_minutes)

    @property
    def horizon(self) -> timedelta:
        """How far behind the present an item may be and still count."""
        return timedelta(hours=self.horizon_hours)
