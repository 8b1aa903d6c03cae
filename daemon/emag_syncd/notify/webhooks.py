"""Delivers what the outbox holds: in order for each account and receiver, each lane by one daemon at a time."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass

import structlog

from emag_syncd.config import Webhooks
from emag_syncd.domain.errors import DatabaseError
from emag_syncd.notify.messages import body_of
from emag_syncd.notify.sender import ATTEMPT_SECONDS, Attempt, Receiver, Sender
from emag_syncd.storage.outbox import Message, Outbox
from emag_syncd.telemetry.metrics import Metrics
from emag_syncd.telemetry.series import WebhookOutcome

DAY = 86400.0
CLAIM_SECONDS = 45.0
"""How long a message is its deliverer's: well above what an attempt may take."""

LANES = 8
"""How many accounts' messages are on their way to one receiver at a time."""

REGISTER_SECONDS = 60.0
CLOSE_SECONDS = 2.0

log = structlog.get_logger(__name__)
_chance = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may take, in seconds. Waits grow fourfold from the first to the longest."""

    attempt: float = ATTEMPT_SECONDS
    first_wait: float = 5.0
    longest_wait: float = 7200.0
    give_up_after: float = 3 * DAY

    def wait(self, attempts: int, asked: float | None) -> float:
        """Return how long to wait after ``attempts`` failures and another; at least what the receiver ``asked``."""
        growing = min(self.longest_wait, self.first_wait * float(4 ** min(attempts, 10)))
        return max(growing * _chance.uniform(0.8, 1.0), asked or 0.0)


class Deliverer:
    """Sends the messages of the configured receivers. Nothing here is on the way of a sync."""

    def __init__(self, outbox: Outbox, metrics: Metrics, settings: Webhooks, patience: Patience | None = None) -> None:
        """Deliver what ``outbox`` holds for the receivers of ``settings``."""
        self._outbox = outbox
        self._metrics = metrics
        self._patience = patience or Patience()
        self._sender = Sender(settings, attempt_seconds=self._patience.attempt)
        self._settings = settings
        self._retired: list[Sender] = []
        self._lanes: dict[asyncio.Task[None], str] = {}
        self._held: dict[int, Message] = {}
        self._registered = float("-inf")
        self._closing = False

    def reconfigure(self, settings: Webhooks) -> None:
        """Take over changed receivers and secrets; what is on its way goes on as it began."""
        if settings == self._settings:
            return
        self._settings = settings
        self._retired.append(self._sender)
        self._sender = Sender(settings, attempt_seconds=self._patience.attempt)
        self._registered = float("-inf")

    async def register(self) -> None:
        """Let whatever happens from now on be written down for the receivers. Raises DatabaseError."""
        receivers = {one.id: one.address for one in self._sender.receivers}
        for row in await self._outbox.register(receivers) if receivers else ():
            if row["disabled_at"] is not None and self._registered < 0:
                log.warning(
                    "a webhook's receiver is disabled",
                    action="webhook_disabled",
                    receiver=row["address"],
                    reason=row["disabled_reason"],
                    remedy="take it out of webhooks.urls, or try it again with emag-syncd webhook retry",
                )
        self._registered = time.monotonic()

    async def turn(self) -> None:
        """Begin the lanes that have something to deliver. Raises DatabaseError."""
        if not self._sender.receivers or self._closing:
            return
        if time.monotonic() - self._registered > REGISTER_SECONDS:
            await self.register()
        busy = Counter(self._lanes.values())
        for receiver in self._sender.receivers:
            if (free := LANES - busy[receiver.id]) > 0:
                for message in await self._outbox.claim(receiver.id, limit=free):
                    self._begin(self._sender, receiver, message)

    async def close(self) -> None:
        """Let what is on its way arrive within ``CLOSE_SECONDS``, and leave the rest to others at once."""
        self._closing = True
        if self._lanes:
            await asyncio.wait(self._lanes, timeout=CLOSE_SECONDS)
        for task in self._lanes:
            task.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)
        if self._held:
            await self._give_back()
        for sender in (*self._retired, self._sender):
            await sender.close()

    async def _give_back(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._outbox.unclaim(self._held.values())
        except (DatabaseError, TimeoutError) as error:
            log.debug("webhooks stay claimed for a while", action="webhook_claims_left", error=str(error))

    def _begin(self, sender: Sender, receiver: Receiver, message: Message) -> None:
        self._held[message.id] = message
        task = asyncio.create_task(self._lane(sender, receiver, message), name=f"webhooks of {message.account}")
        self._lanes[task] = receiver.id
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._lanes[task]
        if task.cancelled() or (error := task.exception()) is None:
            return
        # The claims run out, and the messages are sent again: at least once is what was promised.
        known = isinstance(error, DatabaseError)
        log.warning(
            "a webhook's delivery was interrupted",
            action="webhook_interrupted",
            error=str(error),
            exc_info=None if known else error,
        )

    async def _lane(self, sender: Sender, receiver: Receiver, first: Message) -> None:
        """Deliver an account's messages one after the other, until none is left or one fails."""
        message: Message | None = first
        while message is not None and sender is self._sender and not self._closing:
            self._held[message.id] = message
            following = await self._deliver(sender, receiver, message)
            del self._held[message.id]
            message = following
        if message is not None:
            self._held[message.id] = message
            if not self._closing:
                await self._outbox.unclaim([self._held.pop(message.id)])

    async def _deliver(self, sender: Sender, receiver: Receiver, message: Message) -> Message | None:
        """Send a message; return the next one of its account if this one arrived."""
        attempt = await sender.send(receiver, f"msg_{message.message_id}", body_of(message))
        if not attempt.error:
            self._metrics.webhook(WebhookOutcome.DELIVERED)
            log.debug("webhook delivered", action="webhook_delivered", receiver=receiver.address, type=message.type)
            return await self._outbox.delivered(message)
        self._metrics.webhook(WebhookOutcome.FAILED)
        if attempt.gone:
            await self._disable(receiver)
        else:
            await self._failed(receiver, message, attempt)
        return None

    async def _disable(self, receiver: Receiver) -> None:
        dead = await self._outbox.disable(receiver.id, "answered 410: it is gone")
        self._metrics.webhook(WebhookOutcome.DEAD, dead)
        log.error(
            "a webhook's receiver is gone and was disabled",
            action="webhook_gone",
            receiver=receiver.address,
            given_up=dead,
            remedy="take it out of webhooks.urls, or try it again with emag-syncd webhook retry",
        )

    async def _failed(self, receiver: Receiver, message: Message, attempt: Attempt) -> None:
        wait = self._patience.wait(message.attempts, attempt.retry_after)
        dead = await self._outbox.failed(
            message, attempt.error, wait_seconds=wait, patience_seconds=self._patience.give_up_after
        )
        about = {
            "receiver": receiver.address,
            "account": message.account,
            "type": message.type,
            "message": f"msg_{message.message_id}",
            "attempts": message.attempts + 1,
            "error": attempt.error,
        }
        if dead:
            self._metrics.webhook(WebhookOutcome.DEAD)
            log.error(
                "webhook given up", action="webhook_dead", **about, remedy="emag-syncd webhook retry sends it again"
            )
        else:
            log.warning("webhook not delivered", action="webhook_failed", **about, retry_in_seconds=round(wait, 1))
