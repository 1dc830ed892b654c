"""`producer ingest`: a source that ends, or one that does not."""

from db.settings import Settings
from producer.ingest import ingest
from producer.live_source import live_source
from producer.outcome import Outcome
from producer.request import IngestRequest
from producer.screen import Screen
from producer.streaming import ingest_stream


def enter(request: IngestRequest, settings: Settings, screen: Screen) -> Outcome:
    """Enter the rows of the sources; raises what `ingest` raises."""
    source = live_source(request, screen.warn)
    if source is not None:
        return ingest_stream(source, request, settings, screen)
    return ingest(request, settings, screen)
