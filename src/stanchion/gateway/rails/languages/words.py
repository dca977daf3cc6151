"""The commonest words of languages that share a script: articles, pronouns, prepositions, forms of `to be`.

Written down by hand for this purpose. A word that several languages have counts for each of them by a share.
"""

from __future__ import annotations

from collections.abc import Mapping

_LATIN = {
    "en": "a no so am than into only other some very after also here "
    "the of and to in is that it for was on are with as they be at this have from or had by but not what all "
    "were we when your can said there which she do their if will up about out many then them these so her would him "
    "has more could my been who its how please i you he me why where does did should our us an any because want need",
    "de": "der die das und ist nicht ein eine zu den mit sich von dem für auf des im es als auch wie an bei nach aus "
    "um noch nur werden wird sind war haben hat ich du wir ihr sie er mir mich dir dich was wer wo wenn aber oder "
    "kann können möchte bitte einen einem einer keine kein mein meine dein ihre ihren über vor zum zur bis gibt warum",
    "fr": "le la les de des du un une et est en que qui dans pour pas sur au aux avec ce cette ces il elle nous vous "
    "ils elles je tu ne se son sa ses leur mais ou où plus par été être avoir fait comme tout sont ont mon ma mes "
    "votre notre très bien aussi sans peut quel quelle comment pourquoi voudrais suis avez êtes c'est j'ai donc quand",
    "es": "el la los las de que y en un una es por con para no se su lo como más pero sus le ya o este sí porque "
    "esta entre cuando muy sin sobre también me hasta hay donde quien desde todo nos durante uno ni contra ese eso "
    "mi está estoy estamos son fue tengo tiene puede puedo quiero qué cómo por qué usted ustedes nosotros del al",
    "pt": "o a os as de do da dos das em no na nos nas um uma que e é para com não se por mais como mas foi ao ele "
    "ela eles seu sua ou ser quando muito há já está eu também só pelo pela até isso entre era depois sem mesmo "
    "meu minha você vocês nós são tem tenho pode posso quero qual onde porque obrigado estou fazer preciso uns",
    "it": "il lo la i gli le di che e è un una in per non con si da sono del della dei delle al alla nel nella come "
    "anche più ma ha ho hanno mi ti ci vi se questo questa quello quella suo sua mio mia loro essere stato fatto "
    "tutto tutti molto quando dove chi cosa perché vorrei posso può voglio sul sulla dal dalla ed ai noi voi io tu",
    "nl": "de het een en van is dat in op te zijn met voor niet aan er om ook als dan maar bij uit naar heeft hebben "
    "wordt worden deze dit die wij jij je ik u hij zij ze hun haar mijn jouw uw wat wie waar hoe waarom kan kunnen "
    "wil zou moet nog al door over tot tegen geen meer veel zo toch want of was waren heb bent graag mij ons onze",
    "sv": "och att det i en är som på för av med till den inte har de ett om vi jag du han hon sig men var från så "
    "kan när ut eller vad mycket här där också efter alla vill skulle ska mig dig oss er min mitt din ditt sin hur "
    "varför vilken bara under mot över finns blir blev hade vara denna detta dessa utan mellan något någon",
    "da": "og at det i en er som på for af med til den ikke har de et om vi jeg du han hun sig men var fra så kan "
    "når ud eller hvad meget her der også efter alle vil skulle skal mig dig os jer min mit din dit sin hvordan "
    "hvorfor hvilken kun under mod over findes bliver blev havde være denne dette disse uden mellem noget nogen "
    "gerne venligst",
    "no": "og at det i en er som på for av med til den ikke har de et om vi jeg du han hun seg men var fra så kan "
    "når ut eller hva mye her der også etter alle vil skulle skal meg deg oss dere min mitt din ditt sin hvordan "
    "hvorfor hvilken bare under mot over finnes blir ble hadde være denne dette disse uten mellom noe noen "
    "gjerne vennligst",
    "fi": "ja on ei se että oli hän en mutta tämä kun niin kuin ovat olen olet minä sinä me te he joka mitä mikä "
    "missä miksi miten jos tai myös vain nyt sitten vielä jo ole olla voi voin haluan minun sinun hänen meidän "
    "teidän heidän sen tämän siitä siinä tässä ollut olisi kanssa ennen jälkeen ilman hyvin paljon kaikki kiitos",
    "pl": "i w na nie z się do to że jest o jak ale po co za od tak jego czy już dla przez być był była było są "
    "tego ten ta te tym który która które mnie mi ja ty on ona my wy oni moje mój moja może można chcę proszę "
    "dlaczego gdzie kiedy kto tylko jeszcze bardzo także oraz bez pod nad przed więc sobie jestem mam masz ma",
    "cs": "a se na v je že to s z o do i k ve si po za jako ale by které který která jsou jsem jsi jsme jste byl "
    "byla bylo být není už tak jak co kde kdy proč kdo pro při od nebo také ještě jen mě mi já ty on ona my vy "
    "můj moje tvůj jeho její chci můžu může prosím velmi až než podle mezi bez protože tento tato toto "
    "svůj svou své není",
    "sk": "a sa na v je že to s z o do aj k vo si po za ako ale by ktoré ktorý ktorá sú som si sme ste bol bola "
    "bolo byť nie už tak čo kde kedy prečo kto pre pri od alebo tiež ešte len ma mi ja ty on ona my vy môj moje "
    "tvoj jeho jej chcem môžem môže prosím veľmi až než podľa medzi bez pretože tento táto toto "
    "svoj svoju svoje nie tá",
    "hu": "a az és hogy nem is egy van volt de meg csak ez azt mint már vagy ha el én te ő mi ti ők ezt ami aki "
    "kell lehet lesz lenne nagyon még majd pedig után előtt között szerint miért hol mikor hogyan mit ki nincs "
    "kérem szeretnék tudom tudok vagyok vannak minden itt ott most így úgy akkor amikor vele neki nekem engem",
    "ro": "și în de la cu pe nu un o este că se din pentru mai ce sunt a fi au dar care ca sau prin după până am ai "
    "are eu tu el ea noi voi ei ele mea meu ta tău sa său lui lor foarte când unde cum cine vreau pot poate vă "
    "rog aceasta acest această acel fost fără între despre asta doar încă tot toate mult îmi sa-mi acum este",
    "tr": "ve bir bu da de için ile ne çok daha var olarak gibi ama olan kadar sonra mi mı mu mü ben sen biz siz "
    "onlar o benim senin bizim sizin onun nasıl neden niçin nerede kim hangi değil yok ya veya şu her şey en "
    "olduğu olur oldu istiyorum lütfen bana sana ona beni seni hiç şimdi önce ancak diye ki",
    "id": "yang dan di ini itu dengan untuk tidak dari dalam akan pada juga saya ke karena tersebut bisa ada mereka "
    "lebih telah sudah kami kita anda dia aku kamu atau oleh seperti apa bagaimana mengapa dimana kapan siapa "
    "bukan hanya jika namun sangat dapat harus masih semua banyak adalah sebagai antara tanpa sebelum setelah",
    "vi": "và của là có không được cho trong một với các đã người này những tôi bạn anh chị em chúng ta họ nó "
    "khi ở từ đến cũng nhưng để về ra vào như rất làm gì nào sao đâu tại vì nếu hay hoặc sẽ đang phải thể "
    "muốn xin vui lòng cảm ơn nhiều hơn nhất theo sau trước giữa",
    "hr": "i je u na se da su za od s što kao ali iz koji koja koje sam si smo ste nije bio bila bilo biti ne po "
    "do ili već tako kako gdje kada zašto tko ja ti on ona mi vi oni moj moja moje tvoj njegov njezin može mogu "
    "želim molim samo još vrlo bez između prije nakon ovaj ova ovo taj jer nego sve svoj svoju svoje",
    "lt": "ir yra kad į su ne iš bet kaip ar tai jis ji mes jūs jie aš tu mano tavo savo jo jos apie už prie po "
    "buvo būti gali galiu noriu prašau kodėl kur kada kas koks labai dar jau tik taip pat arba nuo iki per prieš "
    "dėl nes šis ši tas ta visi daug mums jums man tau",
    "lv": "un ir ka ar no uz par bet kā vai tas tā viņš viņa mēs jūs viņi es tu mans mana tavs savs pie pēc bija "
    "būt var varu gribu lūdzu kāpēc kur kad kas kāds ļoti vēl jau tikai arī līdz pirms jo šis šī visi daudz "
    "mums jums man tev nav esmu esam lai tad ne",
    "et": "ja on ei et see oli ta ma sa me te nad kui aga ka nii oma mis kes kus miks kuidas millal või veel juba "
    "ainult väga minu sinu tema meie teie nende olen oled oleme olema olnud saab saan tahan palun siis selle "
    "sest pärast enne ilma koos kõik palju seda mind sind",
    "ca": "el la els les de que i en un una és per amb no es al del dels com més però seva seu o aquest aquesta "
    "quan molt sense sobre també fins hi on qui des tot ens durant contra això meu meva està estic són va tinc té "
    "pot puc vull què perquè vostè nosaltres vosaltres gràcies ho ha han he jo tu",
}
_CYRILLIC = {
    "ru": "и в не на я что он с это как а то все она так его но да ты к у же вы за бы по только ее мне было вот от "
    "меня еще нет о из ему теперь когда даже ну если уже или ни быть был для мы они тут где есть надо чем была "
    "почему можно хочу пожалуйста могу который которая этот эта эти мой моя ваш при без до",
    "uk": "і в не на я що він з це як а то все вона так його але та ти до у ж ви за би по тільки її мені було від "
    "мене ще немає про із йому тепер коли навіть якщо вже або ні бути був для ми вони тут де є треба чим була "
    "чому можна хочу будь ласка можу який яка цей ця ці мій моя ваш при без",
    "bg": "и в не на аз че той с това как а то всички тя така неговото но да ти към у вие за бих по само ми беше от "
    "мен още няма със него сега когато дори ако вече или нито бъде бил ние те тук къде има трябва съм си са "
    "защо може искам моля мога който която този тази тези моят ще се го",
    "sr": "и у не на ја да он са ово како а то све она тако његов али ти к ви за би по само ми је било од мене још "
    "нема из сада када чак ако већ или бити био ми они овде где има треба сам смо сте су се што "
    "зашто може желим молим могу који која овај ова моја",
}
_ARABIC = {
    "ar": "في من على إلى أن هذا هذه التي الذي كان ما لا هو هي عن مع كل قد أو ثم بعد قبل عند أنا أنت نحن هم لم لن "
    "ليس كيف لماذا متى أين هل يمكن أريد بين حتى إذا غير ذلك لكن كما",
    "fa": "و در به از که این را با است برای آن یک خود تا کرد بر هم نیز می شود شد ما من تو او شما آنها چه چرا کجا کی "
    "چگونه نیست بود هستم دارد دارم باید اگر یا اما همه خیلی لطفا",
    "ur": "کے میں کی ہے اور سے کا کو اس نے کہ پر یہ ہیں ایک بھی نہیں تھا تھی گیا جو وہ ہم آپ میرا کیا کیوں کہاں کب "
    "کیسے ہوں کر کرنا سکتا چاہتا لیے تو",
}
_DEVANAGARI = {
    "hi": "है के की का में और से को यह हैं ने पर कि एक भी नहीं था थी गया जो वह हम आप मेरा क्या क्यों कहाँ कब कैसे "
    "हूँ कर करना सकता चाहता लिए तो मैं मुझे",
    "mr": "आहे आणि च्या चा ची हे ते या नाही मी तू आम्ही तुम्ही आहेत होते होता होती का कसे कुठे केव्हा काय "
    "माझे माझा पण किंवा मला तर हा ही",
    "ne": "छ र को मा का ले यो त्यो हो छन् थियो म तिमी हामी तपाईं के किन कहाँ कहिले कसरी पनि लाई भने तर गर्न मेरो गर्नुहोस् छैन",
}
WORDS: Mapping[str, Mapping[str, str]] = {
    "LATIN": _LATIN,
    "CYRILLIC": _CYRILLIC,
    "ARABIC": _ARABIC,
    "DEVANAGARI": _DEVANAGARI,
}
"""Words by script and language."""

LETTERS: Mapping[str, Mapping[str, str]] = {
    "LATIN": {
        "de": "ßäöü", "fr": "çêèœùûî", "es": "ñ¿¡", "pt": "ãõç", "sv": "åäö", "da": "æøå", "no": "æøå", "fi": "äö",
        "pl": "łąęśźżćń", "cs": "řůěčšžý", "sk": "ľĺŕôčšžýť", "hu": "őű", "ro": "țșăţş", "tr": "ğışçöü",
        "vi": "ạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹđơư", "hr": "đćčšž", "lt": "ėįųūąęčšž", "lv": "āēīūļņķģčšž",
        "et": "õäöü", "ca": "ŀçòà", "it": "òìù",
    },
    "CYRILLIC": {"ru": "ыэё", "uk": "іїєґ", "bg": "ъщ", "sr": "ђћџљњј"},
    "ARABIC": {"fa": "پچژگی", "ur": "ٹڈڑےہھں", "ar": "ةأإؤئى"},
    "DEVANAGARI": {"mr": "ळ", "ne": "", "hi": "़"},
}  # fmt: skip
"""Letters that one language of a script has and most others have not."""

ALONE: Mapping[str, str] = {
    "GREEK": "el", "HEBREW": "he", "ARMENIAN": "hy", "GEORGIAN": "ka", "HANGUL": "ko", "HIRAGANA": "ja",
    "KATAKANA": "ja", "CJK": "zh", "THAI": "th", "BENGALI": "bn", "TAMIL": "ta", "TELUGU": "te", "GUJARATI": "gu",
    "GURMUKHI": "pa", "KANNADA": "kn", "MALAYALAM": "ml", "KHMER": "km", "LAO": "lo", "MYANMAR": "my",
    "ETHIOPIC": "am", "SINHALA": "si",
}  # fmt: skip
"""Scripts that tell the language by themselves, but for rare ones. Chinese letters beside kana are Japanese."""
