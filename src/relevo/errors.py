"""The exception hierarchy of Relevo; each class has a stable code, a message template and the facts of an instance.

    RelevoError                       internal
    ├── InvalidInputError             the caller's input is at fault; nothing was recorded
    │   ├── InvalidJsonError · InvalidFormError · MissingInputError · EmptyFileError · BodyTimeoutError · ClientDisconnectedError
    │   ├── InvalidParameterError · UnknownParameterError · TooManyParametersError
    │   ├── InvalidHttpError          MissingHostError
    │   ├── InvalidFieldError         MissingFieldError · UnknownFieldError · FieldTypeError · UnknownCategoryError
    │   │                             FieldRangeError ─ FieldTooSmallError · FieldTooLargeError
    │   ├── TooLargeError             HeadersTooLargeError · BodyTooLargeError · ImageTooLargeError · TooManyPartsError
    │   │                             TooManyRecordsError ─ BatchTooLongError
    │   └── UnsupportedInputError     UnsupportedMediaTypeError · UnsupportedImageError · BrokenImageError
    ├── NotFoundError                 ModelNotFoundError · VersionNotFoundError · AliasNotFoundError · LabelNotFoundError
    │                                 PredictionNotFoundError · InputNotStoredError · InputUndecryptableError · NotInPackageError
    │                                 RecordKeyNotFoundError · RecordKeyAmbiguousError · UserNotFoundError · ApiKeyNotFoundError
    ├── AuthenticationError           InvalidCredentialsError · IdentityProofError
    ├── RequestRejectedError          OriginError · PermissionDeniedError · CsrfError · HostNotAllowedError · MethodNotAllowedError
    │                                 WeakPasswordError · NameTakenError · IdentityTakenError · LastAdminError · LoginThrottledError
    │                                 ConcurrencyLimitError ─ RateLimitError · PreconditionFailedError · PromotionRefusedError
    │                                 InvalidLabelError ─ LabelNotNumberError
    ├── UnavailableError              OverloadedError ─ OverloadedByBytesError · QueueTooLongError
    │                                 NotReadyError · ShuttingDownError · IdentityProviderUnavailableError · JournalUnavailableError
    │                                 DatabaseUnavailableError ─ DatabaseMissingError · DatabaseCorruptError · DatabaseFullError
    │                                     DatabaseNotRecognizedError · DatabaseSchemaTooNewError · UsersLostError
    ├── ModelError                    OutputNotFiniteError
    ├── PackageError                  InvalidManifestError · UnknownFormatError · MissingFileError · DigestMismatchError
    │                                 UnexpectedFileError · UnsafePackageError · InvalidOnnxError · GoldenMismatchError
    ├── ImportModelError              UnknownFileFormatError · QuantizationLossError · PickleNotTrustedError · CodeNotTrustedError
    │                                 SandboxError · SandboxTooWeakError · LegacyEnvironmentError · MissingDependencyError
    │                                 ConversionError · ParityError · InvalidOptionsError · InvalidLabelsError
    ├── TrainingError                 the project's own code failed
    └── ConfigError                   UnknownSettingError · InvalidSettingError

Codes are API: they never change their meaning. The core has codes and facts; only `web/errors.py` has HTTP status codes, and only
the message catalogues have languages. Facts never contain client input, so errors do not echo it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self


class RelevoError(Exception):
    """Something failed inside Relevo."""

    code: ClassVar[str] = "internal"
    #: English message template; its fields are the facts.
    sentence: ClassVar[str] = "Something failed inside Relevo; the log has the details."

    def __init__(self, **facts: object) -> None:
        """Keeps the facts, so that the message can be translated."""
        self.facts = facts
        super().__init__(self.sentence.format(**facts))

    def __reduce__(self) -> tuple[object, ...]:
        """Makes the error picklable: rebuilt from its message, since the constructor takes only keyword arguments."""
        return (_rebuild, (type(self), str(self), self.facts))

    @classmethod
    def with_message(cls, message: str, **facts: object) -> Self:
        """An error with an explicit message, for example from another process or a server."""
        error = cls.__new__(cls)
        error.facts = facts
        Exception.__init__(error, message)
        return error

    @property
    def field(self) -> str | None:
        """Name of the invalid field or form part, if there is one."""
        field = self.facts.get("field")
        return None if field is None else str(field)

    @property
    def results(self) -> list[Any]:
        """Results of `Client.predict_many` when it raised this error: one entry per input, None where there is no result."""
        results: list[Any] = self.facts.get("results") or []  # type: ignore[assignment]  # facts have any type
        return results

    @property
    def failures(self) -> dict[int, RelevoError]:
        """Errors of single inputs in `Client.predict_many`, by the index of the input."""
        failures: dict[int, RelevoError] = self.facts.get("failures") or {}  # type: ignore[assignment]  # facts have any type
        return failures


def _rebuild(kind: type[RelevoError], message: str, facts: dict[str, object]) -> RelevoError:
    return kind.with_message(message, **facts)


def by_code(code: str) -> type[RelevoError]:
    """The class with this code; RelevoError for a code that this release does not know."""
    classes = [RelevoError]
    for kind in classes:
        if kind.code == code:
            return kind
        classes.extend(kind.__subclasses__())
    return RelevoError


# --- the caller's input ---------------------------------------------------------------------------------------------


class InvalidInputError(RelevoError):
    """The caller's input is at fault."""

    code = "input_refused"
    sentence = "The input cannot be used."


class InvalidJsonError(InvalidInputError):
    """The body is not JSON, or JSON of a kind we do not take."""

    code = "bad_json"
    sentence = "The body is not valid JSON: {reason}."


class InvalidFormError(InvalidInputError):
    """The multipart body is broken."""

    code = "bad_form"
    sentence = "The form cannot be read: {reason}."


class MissingInputError(InvalidInputError):
    """The request carries nothing to predict on."""

    code = "no_input"
    sentence = "No file was sent. Send the image as the form part 'file', or as the body with Content-Type image/png."


class EmptyFileError(InvalidInputError):
    """A form part for the file is there, but nobody chose a file."""

    code = "no_file_chosen"
    sentence = "No file was chosen: the form part '{field}' is empty."


class InvalidParameterError(InvalidInputError):
    """A parameter of the address, or a field of a JSON body, of the wrong kind."""

    code = "parameter_wrong"
    sentence = "The parameter '{field}' expects {expected}."


class UnknownParameterError(InvalidInputError):
    """A parameter of the address that its route does not know."""

    code = "parameter_unknown"
    sentence = "The parameter '{field}' is not known here; the nearest known one is '{nearest}'."


class TooManyParametersError(InvalidInputError):
    """An address with more parameters than any route knows."""

    code = "too_many_parameters"
    sentence = "The address has more than {limit} parameters."


class InvalidFieldError(InvalidInputError):
    """One field of a record is at fault."""

    code = "field_refused"
    sentence = "The field '{field}' cannot be used."


class MissingFieldError(InvalidFieldError):
    """A required field is absent or null."""

    code = "field_missing"
    sentence = "The field '{field}' is missing; expected {expected}."


class UnknownFieldError(InvalidFieldError):
    """A field that the signature does not name."""

    code = "field_unknown"
    sentence = "The model has no field '{field}'; the nearest it has is '{nearest}'."


class FieldTypeError(InvalidFieldError):
    """A field of another type than the signature's."""

    code = "field_wrong_type"
    sentence = "The field '{field}' expects {expected}, but {got} came."


class UnknownCategoryError(InvalidFieldError):
    """A category outside a closed list."""

    code = "field_not_listed"
    sentence = "The field '{field}' expects one of: {choices}."


class FieldRangeError(InvalidFieldError):
    """A number outside the signature's range."""

    code = "field_out_of_range"
    sentence = "The field '{field}' expects a number from {minimum} to {maximum}."


class FieldTooSmallError(FieldRangeError):
    """A number below a range that is open above."""

    code = "field_too_small"
    sentence = "The field '{field}' expects a number of at least {minimum}."


class FieldTooLargeError(FieldRangeError):
    """A number above a range that is open below."""

    code = "field_too_large"
    sentence = "The field '{field}' expects a number of at most {maximum}."


class TooLargeError(InvalidInputError):
    """The input is larger than a limit."""

    code = "too_large"
    sentence = "The input is larger than this server takes."


class HeadersTooLargeError(TooLargeError):
    """More bytes of address and headers than any honest request has."""

    code = "head_too_large"
    sentence = "The address and the headers are larger than {limit} bytes."


class BodyTooLargeError(TooLargeError):
    """More bytes than `max_body_mb` to predict on, or than any label, alias or form has."""

    code = "body_too_large"
    sentence = "The body is larger than the {limit} bytes that this address takes (for predictions: setting max_body_mb)."


class ImageTooLargeError(TooLargeError):
    """More pixels than `max_pixels`, or a longer side than `max_side`."""

    code = "image_too_large"
    sentence = (
        "The image has {width} × {height} pixels; at most {max_pixels} pixels (setting max_pixels) and {max_side} a side "
        "(setting max_side) are taken."
    )


class TooManyRecordsError(TooLargeError):
    """More records in one batch than `max_records_per_request`."""

    code = "too_many_rows"
    sentence = "The batch has {rows} records; this server takes at most {limit} (setting max_records_per_request)."


class BatchTooLongError(TooManyRecordsError):
    """More records in one batch than this model answers in the time that `max_queue_seconds` gives it."""

    code = "batch_too_long"
    sentence = (
        "The batch has {rows} records, which take this model about {seconds} s; send at most {limit} at once "
        "(setting max_queue_seconds)."
    )


class BodyTimeoutError(InvalidInputError):
    """The body took longer to arrive than any honest one does."""

    code = "body_too_slow"
    sentence = "The body did not arrive within {limit} s."


class InvalidHttpError(InvalidInputError):
    """Bytes that are no HTTP/1.1."""

    code = "http_malformed"
    sentence = "What arrived is no HTTP/1.1 request that can be read, so the connection is closed."


class MissingHostError(InvalidHttpError):
    """The request does not say once for which host it is."""

    code = "host_missing"
    sentence = "A request of HTTP/1.1 has one Host header; this one has none, or several."


class ClientDisconnectedError(InvalidInputError):
    """The caller hung up before its request was complete; nobody is left to be told."""

    code = "caller_gone"
    sentence = "The caller hung up."


class TooManyPartsError(TooLargeError):
    """More form parts or record fields than any honest request has."""

    code = "too_many_parts"
    sentence = "The request has more than {limit} fields or parts."


class UnsupportedInputError(InvalidInputError):
    """A kind of input this model or server does not take."""

    code = "unsupported_input"
    sentence = "This kind of input is not taken."


class UnsupportedMediaTypeError(UnsupportedInputError):
    """A content type or encoding that this model does not take."""

    code = "unsupported_media"
    sentence = "This model takes {expected}; the request says {got}."


class UnsupportedImageError(UnsupportedInputError):
    """A file of no format that is read, or one of an unusual kind."""

    code = "unsupported_image"
    sentence = (
        "The image format is not allowed: {reason}. Send a JPEG, PNG, WebP, GIF, BMP, TIFF, PGM or PPM with 8 bits a channel."
    )


class BrokenImageError(UnsupportedInputError):
    """An image that begins well and cannot be decoded."""

    code = "broken_image"
    sentence = "The image is damaged or cut off and cannot be decoded."


# --- things that are not there, or not allowed ------------------------------------------------------------------------


class NotFoundError(RelevoError):
    """There is nothing at that address."""

    code = "not_found"
    sentence = "There is nothing at this address."


class ModelNotFoundError(NotFoundError):
    """No model of that name is registered."""

    code = "model_not_found"
    sentence = "There is no model '{model}'. `relevo models` lists those there are."


class VersionNotFoundError(NotFoundError):
    """The model has no such version."""

    code = "version_not_found"
    sentence = "The model '{model}' has no version {version}."


class AliasNotFoundError(NotFoundError):
    """The model has no such alias."""

    code = "alias_not_found"
    sentence = "The model '{model}' has no alias '{alias}'."


class PredictionNotFoundError(NotFoundError):
    """No prediction has that id."""

    code = "prediction_not_found"
    sentence = "There is no prediction with this id. A fresh one appears in the history within seconds."


class InputNotStoredError(NotFoundError):
    """The prediction is known, its input was not kept."""

    code = "input_not_kept"
    sentence = "The input of this prediction was not kept (setting log_inputs)."


class RecordKeyNotFoundError(NotFoundError):
    """No record of the model has that key of the caller's own."""

    code = "own_key_not_found"
    sentence = "No prediction of the model was asked with this key."


class RecordKeyAmbiguousError(NotFoundError):
    """Several records of the model have that key of the caller's own."""

    code = "own_key_ambiguous"
    sentence = "Several predictions were asked with this key: name the one you mean by its query_id."


class LabelNotFoundError(NotFoundError):
    """The prediction has no label of that number."""

    code = "label_not_found"
    sentence = "The prediction has no label of this number."


class InputUndecryptableError(NotFoundError):
    """The input is sealed, and its key was destroyed, is not this server's, or does not fit."""

    code = "input_sealed"
    sentence = "The input of this prediction is sealed, and this server has no key that opens it (setting master_key_file)."


class NotInPackageError(NotFoundError):
    """The version is registered, its package has no such file, or does not lie on this machine."""

    code = "not_in_package"
    sentence = "The package of this version has no such file, or it does not lie on this machine."


class AuthenticationError(RelevoError):
    """Nobody said who asks, or with what does not count (any more)."""

    code = "not_known"
    sentence = "Say who asks: sign in at /login, or send a key as Authorization: Bearer …"


class InvalidCredentialsError(AuthenticationError):
    """Name and password do not belong together."""

    code = "sign_in_refused"
    sentence = "Name or password is wrong."


class IdentityProofError(AuthenticationError):
    """What an identity provider sent back with somebody proves nothing."""

    code = "proof_refused"
    sentence = "Signing in elsewhere did not succeed: {reason}. Begin again at /login."


class UserNotFoundError(NotFoundError):
    """No user has that id or name."""

    code = "user_not_found"
    sentence = "There is no such user. `relevo user list` tells those there are."


class ApiKeyNotFoundError(NotFoundError):
    """No key has that id, or it no longer counts."""

    code = "key_not_found"
    sentence = "There is no such key, or it has ended. `relevo key list` tells those there are."


class RequestRejectedError(RelevoError):
    """The request is understood and not granted."""

    code = "refused"
    sentence = "This is not allowed."


class OriginError(RequestRejectedError):
    """The caller may not do this."""

    code = "forbidden"
    sentence = "This is not allowed: {reason}."


class PermissionDeniedError(RequestRejectedError):
    """Whoever asks is known, and may not do this."""

    code = "not_allowed"
    sentence = "{who} may not do this: it takes the role {role}, or a key made for it (action {action})."


class CsrfError(RequestRejectedError):
    """A browser's session came along with a request that no page of ours made, or whose page has aged."""

    code = "not_your_page"
    sentence = (
        "A session changes something only from this server's own pages: send its own address as Origin and the session's "
        "token as X-CSRF-Token (GET /me tells it). On a page: load it again."
    )


class WeakPasswordError(RequestRejectedError):
    """A new password that is too easy."""

    code = "password_refused"
    sentence = "This password is not taken: {reason}."


class NameTakenError(RequestRejectedError):
    """Two users cannot have one name."""

    code = "name_taken"
    sentence = "Another user has this name."


class IdentityTakenError(RequestRejectedError):
    """Two users cannot sign in by one account."""

    code = "account_taken"
    sentence = "Another user signs in with this account."


class LastAdminError(RequestRejectedError):
    """Nobody would be left who may administer."""

    code = "last_admin"
    sentence = "Somebody must be there who administers, with a password: make another admin first."


class LoginThrottledError(RequestRejectedError):
    """Wrong passwords one after the other; whoever else signs in is not kept waiting."""

    code = "too_many_failures"
    sentence = "Too many wrong passwords: wait {retry_after} s, then try again."


class HostNotAllowedError(RequestRejectedError):
    """The request calls the server by a name it does not go by."""

    code = "host_not_allowed"
    sentence = (
        "The header Host has a name that this server does not go by. Ask for it as localhost, "
        "or let whoever runs it list the name (setting allowed_hosts)."
    )


class MethodNotAllowedError(RequestRejectedError):
    """The address exists and takes other methods."""

    code = "method_not_allowed"
    sentence = "This address takes only {allowed}."


class ConcurrencyLimitError(RequestRejectedError):
    """The caller is over its share."""

    code = "rate_limited"
    sentence = "You already have {limit} requests under way; wait for one to end (setting max_concurrency_per_client)."


class RateLimitError(ConcurrencyLimitError):
    """The caller has asked for all of its share."""

    code = "rate_exceeded"
    sentence = "You have asked for more than your share: come back in {retry_after} s (setting rate_limit)."


class InvalidLabelError(RequestRejectedError):
    """The label is none of the model's."""

    code = "label_refused"
    sentence = "The label must be one of: {choices}."


class LabelNotNumberError(InvalidLabelError):
    """The truth of a regression is a number."""

    code = "label_not_number"
    sentence = "The label must be a finite number."


class PreconditionFailedError(RequestRejectedError):
    """Somebody else changed the thing in between."""

    code = "stale_state"
    sentence = "It was changed meanwhile: {reason}. Look again, then repeat."


class PromotionRefusedError(RequestRejectedError):
    """A version would not answer the clients of the champion, or answers them worse."""

    code = "takeover_refused"
    sentence = (
        "Version {version} of {model} does not take over from version {before}: {reason}. Force it, with a reason, if you mean to."
    )


# --- the server cannot, now -------------------------------------------------------------------------------------------


class UnavailableError(RelevoError):
    """Not now; the same request may succeed soon."""

    code = "unavailable"
    sentence = "The server cannot answer now; try again in a moment."


class OverloadedError(UnavailableError):
    """The queue is at its bound."""

    code = "overloaded"
    sentence = "The server is full: {limit} rows wait already (setting max_queue_size). Try again in a moment."


class QueueTooLongError(OverloadedError):
    """What waits takes the model longer than a caller waits for an answer."""

    code = "queue_too_long"
    sentence = (
        "The server is full: what waits already takes the model about {seconds} s (setting max_queue_seconds). "
        "Try again in {retry_after} s."
    )


class OverloadedByBytesError(OverloadedError):
    """The bodies being read and the large pictures waiting fill the room there is for them."""

    code = "overloaded_by_bytes"
    sentence = "The server is full: {limit} MiB of inputs are being read or wait to be decoded. Try again in a moment."


class NotReadyError(UnavailableError):
    """No model is loaded (yet)."""

    code = "not_ready"
    sentence = "The model is not loaded: {reason}."


class IdentityProviderUnavailableError(UnavailableError):
    """Where people sign in elsewhere, nobody answers as they should."""

    code = "provider_away"
    sentence = "The identity provider cannot be asked now: {reason}."


class ShuttingDownError(UnavailableError):
    """The server is stopping."""

    code = "draining"
    sentence = "The server is stopping; try again in a moment."


class JournalUnavailableError(UnavailableError):
    """The journal cannot be written, so nothing may be acknowledged."""

    code = "storage_unavailable"
    sentence = "Predictions cannot be recorded now ({reason}), so none are given (setting durability)."


class DatabaseUnavailableError(UnavailableError):
    """The database does not answer."""

    code = "store_unavailable"
    sentence = "The database does not answer; predictions go on and will appear in the history later."


class DatabaseMissingError(DatabaseUnavailableError):
    """The file of a database that was there is not there, or none was ever made."""

    code = "store_missing"
    sentence = (
        "The database is missing: put relevo.db, or a backup of it, in its place. Journals keep what is predicted until then."
    )


class DatabaseCorruptError(DatabaseUnavailableError):
    """The file of the database is damaged, cut short or empty."""

    code = "store_damaged"
    sentence = "The database is damaged: put a backup of relevo.db in its place. Journals keep what is predicted until then."


class DatabaseNotRecognizedError(DatabaseUnavailableError):
    """What lies in the database's place is not this home's."""

    code = "store_foreign"
    sentence = "What is in the place of the database is not this home's: {reason}. Put its own back, or choose another --home."


class DatabaseSchemaTooNewError(DatabaseUnavailableError):
    """The schema of the database is one that this release does not know."""

    code = "store_later"
    sentence = (
        "A later release brought the database to schema {found}, and this one knows schemas up to {known}: use the later release, "
        "or put back a backup that was made before the upgrade."
    )


class DatabaseFullError(DatabaseUnavailableError):
    """The database's disk has no room."""

    code = "store_full"
    sentence = "The disk of the database is full: nothing was changed. Free some room, then repeat."


class UsersLostError(DatabaseUnavailableError):
    """The database knows no user, or not the past, of a home that had users."""

    code = "users_lost"
    sentence = (
        "The database does not hold the users that this home's own files know of: it was lost, emptied or replaced. "
        "Nobody is let in until a backup of it is in its place; to begin anew, choose another --home."
    )


# --- the model ----------------------------------------------------------------------------------------------------------


class ModelError(RelevoError):
    """The model raised on this batch."""

    code = "model_failed"
    sentence = "The model failed on this input."


class OutputNotFiniteError(ModelError):
    """The model answered NaN or infinity."""

    code = "output_not_finite"
    sentence = "The model's answer to this input is not a finite number; look for extreme values in it."


# --- packages -----------------------------------------------------------------------------------------------------------


class PackageError(RelevoError):
    """A package that must not be used."""

    code = "package_refused"
    sentence = "The package is refused: {reason}."


class InvalidManifestError(PackageError):
    """The manifest does not follow the format."""

    code = "manifest_invalid"
    sentence = "The package's manifest.json is not valid: {reason}."


class UnknownFormatError(PackageError):
    """A package of a format this release does not know."""

    code = "format_unknown"
    sentence = "The package has format {found}; this Relevo reads formats 1 to {known}. Upgrade Relevo to open it."


class MissingFileError(PackageError):
    """A file named by the manifest is absent: the package was cut."""

    code = "file_missing"
    sentence = "The package lacks '{path}', which its manifest names; it was cut off or is incomplete."


class DigestMismatchError(PackageError):
    """A file's content differs from the manifest's digest."""

    code = "file_tampered"
    sentence = "The package's '{path}' was changed after packing: its SHA-256 is not the one in the manifest."


class UnexpectedFileError(PackageError):
    """A file the manifest does not name."""

    code = "file_unexpected"
    sentence = "The package holds '{path}', which its manifest does not name."


class UnsafePackageError(PackageError):
    """An archive made to harm: outside paths, links, bombs."""

    code = "package_unsafe"
    sentence = "The package is not safe to open: {reason}."


class InvalidOnnxError(PackageError):
    """An ONNX file that breaks the single-file rule or a cap."""

    code = "onnx_refused"
    sentence = "The ONNX model is refused: {reason}."


class GoldenMismatchError(PackageError):
    """The model no longer answers its own golden examples."""

    code = "golden_mismatch"
    sentence = (
        "The model does not answer its golden examples: example {example} differs by {difference:.3g}, "
        "more than the tolerance {tolerance:.3g}."
    )


# --- imports ------------------------------------------------------------------------------------------------------------


class ImportModelError(RelevoError):
    """A model file that cannot be taken in."""

    code = "import_refused"
    sentence = "The file cannot be imported: {reason}."


class UnknownFileFormatError(ImportModelError):
    """The bytes belong to no format we know."""

    code = "file_format_unknown"
    sentence = "The file's format is not known: {reason}."


class PickleNotTrustedError(ImportModelError):
    """A pickle, and nobody said that its author is trusted."""

    code = "pickle_not_trusted"
    sentence = (
        "'{path}' is a pickle (it imports {imports}): loading it runs its author's code. "
        "If you trust the author, repeat with --trust-pickle; it is then loaded in a sandbox, never in the server."
    )


class CodeNotTrustedError(ImportModelError):
    """A file whose library can be made to run code by it, and nobody said that its author is trusted."""

    code = "code_not_trusted"
    sentence = (
        "'{path}' ({format}) can run its author's code when it is opened. "
        "If you trust the author, repeat with --trust-pickle; it is then loaded in a sandbox, never in the server."
    )


class ConversionError(ImportModelError):
    """The framework or converter could not express the model as ONNX."""

    code = "conversion_failed"
    sentence = "The model cannot be converted to ONNX: {reason}."


class ParityError(ImportModelError):
    """The converted model does not answer as the original."""

    code = "parity_failed"
    sentence = (
        "The converted model does not answer as the original: the largest difference is {difference:.3g} "
        "at sample {example}, the tolerance {tolerance:.3g} ({layer}). Nothing was packaged."
    )


class QuantizationLossError(ImportModelError):
    """In smaller numbers the model answers too differently."""

    code = "precision_too_costly"
    sentence = "In {numbers} the model loses too much: {loss}; at most {allowed} is allowed (max_loss). Nothing was packaged."


class SandboxError(ImportModelError):
    """The sandboxed process ended without a result."""

    code = "quarantine_failed"
    sentence = "The sandbox that read the file gave no result: {reason}."


class SandboxTooWeakError(ImportModelError):
    """This system cannot hold a program format safely."""

    code = "quarantine_too_weak"
    sentence = (
        "This system gives only a {level} sandbox ({reason}), too weak for a file that may run code. "
        "Import it on a Linux with Landlock and seccomp, or accept the risk with --accept-weak-quarantine."
    )


class LegacyEnvironmentError(ImportModelError):
    """The libraries that wrote a file cannot be brought together here."""

    code = "environment_failed"
    sentence = "The environment of the file's own time cannot be built: {reason}."


class MissingDependencyError(ImportModelError):
    """An optional part of the installation is needed."""

    code = "extra_missing"
    sentence = "This needs the extra '{extra}': pip install 'relevo[{extra}]'."


class InvalidOptionsError(ImportModelError):
    """The file leaves things open that only a person can tell."""

    code = "options_missing"
    sentence = "The file does not tell everything; add: {options}."


class InvalidLabelsError(ImportModelError):
    """Display names that contradict the names the model has for its classes."""

    code = "labels_refused"
    sentence = "The labels cannot be used: {reason}."


class TrainingError(RelevoError):
    """The user's train.py or data.py raised something."""

    code = "training_failed"
    sentence = "The project's own code failed: {reason}."


# --- settings -----------------------------------------------------------------------------------------------------------


class ConfigError(RelevoError):
    """A setting that cannot be used."""

    code = "config_refused"
    sentence = "The settings cannot be used: {reason}."


class UnknownSettingError(ConfigError):
    """A key nobody knows."""

    code = "unknown_setting"
    sentence = "{source} has an unknown setting '{name}'; the nearest known one is '{nearest}'."


class InvalidSettingError(ConfigError):
    """A value of the wrong type or out of range."""

    code = "wrong_setting"
    sentence = "{source}: the setting '{name}' expects {expected}."
