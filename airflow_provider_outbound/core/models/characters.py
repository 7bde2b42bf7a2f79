"""What a character stands for in a phone number: the one definition for reading, masking and redacting."""

from __future__ import annotations

import unicodedata

#: Full-width and small forms, and the minus sign, which is no dash by its category.
_ASCII_OF = {"＋": "+", "﹢": "+", "．": ".", "（": "(", "）": ")", "／": "/", "−": "-"}
#: What people also put between digits. The reader refuses it; the redaction sees through it.
_ALSO_BETWEEN = frozenset("·•∙⋅・･‧●｡。＼＿～〜∼⁓ー－＊［］【】⁄∕¦")


class _Forms(dict[int, str]):
    """For ``str.translate``: found out once for each character."""

    def __missing__(self, code: int) -> str:
        self[code] = form = self.form(chr(code))
        return form

    def form(self, character: str) -> str:
        """Digits of any script, and separators of any kind, in ASCII; nothing for what is invisible; else the same."""
        if character.isascii():
            return character
        category = unicodedata.category(character)
        if category == "Nd":
            return str(unicodedata.decimal(character))
        if category == "Cf":
            # Marks of writing direction and the like come along when a number is copied from a phone.
            return ""
        if category == "Zs":
            return " "
        return "-" if category == "Pd" else _ASCII_OF.get(character, character)


class _Shapes(_Forms):
    def form(self, character: str) -> str:
        """As above, one for one, with a blank for whatever may stand between digits."""
        if character.isascii():
            return character
        form = super().form(character)
        if not form or character in _ALSO_BETWEEN or character.isspace():
            return " "
        return form if form.isascii() else "x"


#: What the reader sees of a number.
FORMS = _Forms()
_SHAPES = _Shapes()


def shape(text: str) -> str:
    """``text`` as somebody sees it who looks for numbers: as long as it is, all ASCII."""
    return text if text.isascii() else text.translate(_SHAPES)
