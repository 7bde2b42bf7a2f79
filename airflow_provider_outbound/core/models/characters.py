"""The meaning of characters in a phone number: one definition for reading, masking and redacting."""

from __future__ import annotations

import unicodedata

#: Full-width and small forms, and the minus sign, whose category is not that of dashes.
_ASCII_OF = {"＋": "+", "﹢": "+", "．": ".", "（": "(", "）": ")", "／": "/", "−": "-"}
#: Further characters that people put between digits. The reader refuses them; the redaction ignores them.
_ALSO_BETWEEN = frozenset("·•∙⋅・･‧●｡。＼＿～〜∼⁓ー－＊［］【】⁄∕¦")


class _Forms(dict[int, str]):
    """A table for ``str.translate`` that computes the form of each character once."""

    def __missing__(self, code: int) -> str:
        self[code] = form = self.form(chr(code))
        return form

    def form(self, character: str) -> str:
        """Return digits of any script, and separators, in ASCII; empty for invisible characters; others unchanged."""
        if character.isascii():
            return character
        category = unicodedata.category(character)
        if category == "Nd":
            return str(unicodedata.decimal(character))
        if category == "Cf":
            # Invisible marks, such as those of writing direction, are copied along with a number from a phone.
            return ""
        if category == "Zs":
            return " "
        return "-" if category == "Pd" else _ASCII_OF.get(character, character)


class _Shapes(_Forms):
    def form(self, character: str) -> str:
        """As above, but always one character, with a space for whatever may be between digits."""
        if character.isascii():
            return character
        form = super().form(character)
        if not form or character in _ALSO_BETWEEN or character.isspace():
            return " "
        return form if form.isascii() else "x"


#: How the reader sees the characters of a number.
FORMS = _Forms()
_SHAPES = _Shapes()


def shape(text: str) -> str:
    """Return ``text`` as a search for numbers sees it: of the same length, all ASCII."""
    return text if text.isascii() else text.translate(_SHAPES)
