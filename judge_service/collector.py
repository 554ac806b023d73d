"""The former name of `garbage_collection`; the next version removes it."""

from judge_service.garbage_collection import settle_garbage_collection as settle_collector

__all__ = ["settle_collector"]
