"""What the three models share: they are written as bundles and read back, and refuse to answer before that or fit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator

from features.errors import InputError
from training.models.bundle import Bundle, Features, read_bundle
from training.models.encoding import TableEncoder


class BundledModel(BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn has no types
    """A model that is kept as a bundle of its ``kind``; a subclass says what its files are and how they are read."""

    kind: ClassVar[str]
    encoder_: TableEncoder

    def bundle(
        self,
        *,
        features: Features | None = None,
        card: Mapping[str, Any] | None = None,
        about: Mapping[str, bytes] | None = None,
    ) -> Bundle:
        """The model as a bundle; ``features`` is the feature set that feeds it, by default its own columns."""
        self._require_fit()
        names, fingerprint = (features.names, features.fingerprint) if features else self._columns()
        return Bundle(
            kind=self.kind,
            features=tuple(names),
            fingerprint=fingerprint,
            declarations=features.declarations if features else {},
            files=self._files(),
            card=card or {},
            about=about or {},
        )

    def save(
        self, folder: str | Path, *, features: Features | None = None, card: Mapping[str, Any] | None = None
    ) -> Path:
        """Write the bundle to ``folder``."""
        return self.bundle(features=features, card=card).write(folder)

    @classmethod
    def load(cls, folder: str | Path, *, features: Features | None = None) -> Self:
        """The model that ``save`` wrote; with ``features`` another fingerprint is refused, naming the difference."""
        return cls.from_bundle(read_bundle(folder, kind=cls.kind, features=features))

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Self:
        """The model of a bundle that was read."""
        try:
            model = cls._read(bundle)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError("the bundle is broken", got=repr(error), do="fetch or train the model anew") from error
        return model._named()

    @abstractmethod
    def _files(self) -> dict[str, bytes]:
        """The content of each file of the model, by name."""

    @classmethod
    @abstractmethod
    def _read(cls, bundle: Bundle) -> Self:
        """The model that wrote ``_files``; any KeyError, TypeError, ValueError or AttributeError means it is broken."""

    def _columns(self) -> tuple[Sequence[str], str]:
        """The names of the columns that the model itself reads, and their fingerprint."""
        return self.encoder_.names, self.encoder_.fingerprint

    def _named(self) -> Self:
        """The model, fitted now, with the attributes by which scikit-learn knows its columns."""
        self.n_features_in_ = len(self.encoder_.columns)
        self.feature_names_in_ = np.array(self.encoder_.names, dtype=object)
        return self

    def _require_fit(self) -> None:
        if not hasattr(self, "n_features_in_"):
            raise InputError(
                "the model is not trained", got=f"a new {type(self).__name__}", do="call fit or load first"
            )
