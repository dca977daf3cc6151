"""A rail of languages tells what it can tell, and says where it cannot: no wrong language for a short text."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.errors import Misconfigured, NotAllowed
from stanchion.gateway.contract.rails import LANGUAGES, Languages, RailSpec
from stanchion.gateway.rails.languages.detect import UNDECIDED, detect
from stanchion.gateway.rails.languages.words import ALONE, LETTERS, WORDS
from stanchion.gateway.rails.rails import Rails

# Written for this test: nobody's data.
SENTENCES = {
    "en": "How do I reset my password? The link that you have sent does not work.",
    "de": "Wie setze ich mein Passwort zurück? Der Link, den Sie mir geschickt haben, geht nicht.",
    "fr": "Comment puis-je changer mon mot de passe ? Le lien que vous avez envoyé ne marche pas.",
    "es": "¿Cómo puedo cambiar mi contraseña? El enlace que me han enviado no funciona, y no sé por qué.",
    "pt": "Como posso mudar a minha senha? O link que você mandou não funciona e não sei o que fazer.",
    "it": "Come posso cambiare la mia password? Il link che mi avete mandato non funziona più.",
    "nl": "Hoe kan ik mijn wachtwoord wijzigen? De link die ik van jullie kreeg, werkt niet meer.",
    "sv": "Hur kan jag ändra mitt lösenord? Länken som ni skickade till mig fungerar inte längre.",
    "da": "Jeg vil gerne ændre mit kodeord, men linket, der blev sendt, virker ikke. Hvad skal jeg gøre nu?",
    "no": "Jeg vil gjerne endre passordet mitt. Hva skjer med lenken, og hva må jeg gjøre etter det?",
    "fi": "Miten voin vaihtaa salasanani? Linkki, joka oli viestissä, ei toimi, ja se on ollut niin jo eilen.",
    "pl": "Jak mogę zmienić hasło? Link, który jest w wiadomości, nie działa i nie wiem, dlaczego.",
    "cs": "Jak si můžu změnit heslo? Odkaz, který jste mi poslali, už není platný.",
    "sk": "Ako si môžem zmeniť heslo? Odkaz, ktorý ste mi poslali, už nie je platný.",
    "hu": "Hogyan tudok új jelszót kérni? Ez a link már nem jó, és nem tudom, hogy miért.",
    "ro": "Cum pot schimba parola? Linkul pe care mi l-ați trimis nu mai este bun.",
    "tr": "Şifremi nasıl değiştirebilirim? Bana gönderilen bağlantı çok eski ve bu yüzden doğru değil.",
    "id": "Bagaimana saya bisa mengubah kata sandi? Tautan yang saya terima tidak dapat dibuka.",
    "vi": "Làm sao để tôi đổi mật khẩu? Liên kết mà bạn đã gửi không được nữa.",
    "hr": "Kako mogu promijeniti lozinku? Poveznica koju ste mi poslali više nije dobra, a ne znam zašto.",
    "lt": "Kaip galiu pakeisti slaptažodį? Ši nuoroda yra sena ir ji neveikia, bet nežinau kodėl.",
    "lv": "Kā es varu nomainīt paroli? Šī saite ir veca un tā vairs nestrādā, bet es nezinu, kāpēc.",
    "et": "Kuidas ma saan parooli muuta? See link, mis mulle saadeti, ei ole enam õige.",
    "ca": "Com puc canviar la meva contrasenya? Aquesta adreça no és bona i no sé per què.",
    "ru": "Как я могу изменить пароль? Ссылка, которая была в письме, уже не работает.",
    "uk": "Як можна змінити пароль? Лист, який був у пошті, вже не працює, і я не знаю, чому.",
    "bg": "Как мога да сменя паролата? Връзката, която ми беше изпратена, не е вярна.",
    "sr": "Како могу да променим лозинку? Веза која је била у поруци више није добра.",
    "el": "Θέλω να αλλάξω τον κωδικό μου.",
    "he": "אני רוצה לשנות את הסיסמה שלי.",
    "ar": "كيف يمكن تغيير كلمة المرور؟ هذا الرابط الذي كان في الرسالة لا يعمل.",
    "fa": "چگونه می توانم رمز خود را تغییر دهم؟ این پیوند که برای من بود کار نمی کند.",
    "ur": "میں اپنا پاس ورڈ کیسے بدل سکتا ہوں؟ یہ لنک کام نہیں کر رہا ہے۔",
    "hi": "मैं अपना पासवर्ड कैसे बदल सकता हूँ? यह लिंक काम नहीं कर रहा है।",
    "mr": "मला माझा पासवर्ड कसा बदलता येईल? हा दुवा चालत नाही आणि मी काय करू?",
    "ja": "パスワードを変更したいです。",
    "zh": "我想修改我的密码。",
    "ko": "비밀번호를 변경하고 싶습니다.",
    "th": "ฉันต้องการเปลี่ยนรหัสผ่าน",
}
SHORT = [
    "ok", "Hello", "John Smith", "Pizza Margherita", "Acme GmbH, Berlin", "def f(x): return x+1", '{"a": [1, 2]}',
    "La Paz", "Los Angeles, San Francisco", "error 500 in module core", "x" * 500, "é", "Ą",
]  # fmt: skip


def rails(check: Languages, action: Any = "block") -> Rails:
    return Rails([RailSpec(name="words", check=check, on=("ask", "answer"), action=action)])


@pytest.mark.parametrize("language", SENTENCES)
def test_two_sentences_are_enough(language: str) -> None:
    assert detect(SENTENCES[language]).decided.keys() == {language}


@pytest.mark.parametrize("text", SHORT)
def test_what_could_be_anything_is_undecided(text: str) -> None:
    assert detect(text).decided == {}


@pytest.mark.parametrize("text", ["", "12345 67!", "https://example.org/the/and/of", "`wo ist der die das`", "🙂🙂"])
def test_what_is_no_prose_has_no_letters(text: str) -> None:
    assert detect(text).total == 0


def test_the_known_languages_are_those_of_the_tables() -> None:
    known = {*ALONE.values(), *(language for words in WORDS.values() for language in words)}
    assert known == set(LANGUAGES)
    assert all(set(LETTERS[script]) <= set(WORDS[script]) for script in LETTERS)
    assert list(LANGUAGES) == sorted(LANGUAGES)


async def test_allowed_languages_pass_and_others_do_not() -> None:
    english = rails(Languages(allowed=("en", "de")))
    for language, sentence in SENTENCES.items():
        if language in ("en", "de"):
            assert (await english.answer(sentence)).findings == ()
        else:
            with pytest.raises(NotAllowed, match="another language"):
                await english.answer(sentence)


async def test_refused_languages_are_stopped_and_others_pass() -> None:
    check = rails(Languages(refused=("ru",)))
    assert (await check.answer(SENTENCES["uk"])).findings == ()
    with pytest.raises(NotAllowed, match="another language: ru"):
        await check.answer(SENTENCES["ru"])


async def test_one_language_hides_no_other() -> None:
    check = rails(Languages(allowed=("en",)))
    with pytest.raises(NotAllowed, match="another language: fr"):
        await check.answer(f"{SENTENCES['en']}\n{SENTENCES['fr']}")
    quoted = f"{SENTENCES['en']} {SENTENCES['en']}\n{SENTENCES['en']}\nThe song is called «La vie en rose».\n"
    assert (await check.answer(quoted)).findings == ()


async def test_what_is_undecided_passes_unless_it_is_said_otherwise() -> None:
    assert (await rails(Languages(allowed=("en",))).answer("Bonjour")).findings == ()
    strict = rails(Languages(allowed=("en",), undecided="object"), action="flag")
    assert [each.message for each in (await strict.answer("Bonjour")).findings] == ["its language could not be told"]
    assert (await strict.answer("42!")).findings == ()


@given(cuts=st.lists(st.integers(0, 90), max_size=8))
async def test_a_stream_shows_nothing_of_a_language_that_is_not_allowed(cuts: list[int]) -> None:
    text, told = SENTENCES["fr"], ""
    stream = rails(Languages(allowed=("en",))).stream()
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    with pytest.raises(NotAllowed):
        for start, end in pairwise(places):
            told += await stream.feed(text[start:end])
        told += (await stream.end())[0]
    assert told == ""


@given(st.text(max_size=300))
def test_no_text_is_too_strange_to_be_judged(text: str) -> None:
    found = detect(text)
    assert set(found.letters) <= {UNDECIDED, *LANGUAGES}
    assert found.total <= len(text) * 4


@pytest.mark.parametrize("wrong", [{}, {"allowed": ("en",), "refused": ("de",)}, {"allowed": ("english",)}])
def test_a_rail_that_could_never_work_is_refused(wrong: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(Misconfigured):
        Languages(**wrong)
