"""Words that carry no meaning of their own, by language: left out of lexical search, and what tells languages apart."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

_LISTS = {
    "ar": """
        في من على إلى عن مع هذا هذه ذلك تلك التي الذي الذين هو هي هم نحن أنا أنت كان كانت يكون تكون قد لا ما لم
        لن أن إن أو ثم بل حتى إذا كل بعض غير بين عند منذ حيث كما أيضا وقد ولا وهو وهي فيها منها عليه به بها له
        لها
    """,
    "ca": """
        a al als amb aquest aquesta aquests aquestes com de del dels des el els en entre era eren es és està han
        ha hi ho i la les li els més molt no on o per perquè però què qual quan que qui se seu seva seus seves
        si sense sobre són també tot tots un una uns unes va van ja ens hem fer
    """,
    "cs": """
        a aby ale ani ano až bez být byl byla bylo byly by co což či do i jak jako je jeho jejich její jen jenž
        ještě ji jsem jsme jsou jste k kde kdo když která které kteří který má mají mezi na nad ne nebo nebyl
        není o od po pod podle pokud pro proti protože před při s se si také tak takže tedy ten tento této to
        tohoto tom tomu tuto ty u už v ve však z za ze že
    """,
    "da": """
        af alle alt at blev blive bliver da de dem den denne der deres det dette dig din disse dog du efter
        eller en end er et for fra få ham han hans har havde have hende hendes her hos hun hvad hver hvis hvor
        hvordan i ikke ind jeg jer kan kun man mange med meget men mellem mig min mit må ned nogen noget nogle
        nu når og også om op os over på samt sig sin sine sit skal skulle som så til ud under var ved vi vil
        være været
    """,
    "de": """
        aber alle allem allen aller alles als also am an andere anderen auch auf aus bei bereits bin bis bist da
        dadurch daher damit dann das dass daß dein deine dem den denn der deren des dessen die dies diese diesem
        diesen dieser dieses doch dort du durch ein eine einem einen einer eines er es etwa etwas euch euer für
        gegen hab habe haben hat hatte hatten hier hin hinter ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im in
        indem ins ist ja jede jedem jeden jeder jedes jedoch jener kann kein keine keinen können könnte man mehr
        mein meine mich mir mit muss müssen nach nicht nichts noch nun nur ob oder ohne sehr sein seine seinem
        seinen seiner seit sich sie sind so sogar solche soll sollen sollte sondern sonst sowie über um und uns
        unser unsere unter viel vom von vor während war waren warum was weder weil welche welcher welches wenn
        wer werde werden wie wieder wieviel will wir wird wo wurde wurden zu zum zur zwar zwischen
    """,
    "el": """
        ο η το οι τα του της των τον την τους τις στο στη στην στον στα στις στους και να με σε για από που πως
        πώς δεν δε μη μην θα είναι ήταν έχει έχουν είχε αυτό αυτός αυτή αυτά αυτές αυτοί ένα ένας μια μία ή αν
        ότι όπως όταν κατά μετά πριν προς χωρίς μόνο πολύ πιο ως μας σας μου σου τι ποιος ποια ποιο αλλά
    """,
    "en": """
        a about above after again against all also am an and any are as at be because been before being below
        between both but by can could did do does doing down during each few for from further had has have
        having he her here hers herself him himself his how i if in into is it its itself just me more most my
        myself no nor not now of off on once only or other our ours ourselves out over own same she should so
        some such than that the their theirs them themselves then there these they this those through to too
        under until up very was we were what when where which while who whom why will with would you your yours
        yourself yourselves
    """,
    "es": """
        a al algo algunas algunos ante antes aquel aquella como con contra cual cuales cuando cuánto cuántos
        cuál cómo de del desde donde dónde durante e el él ella ellas ellos en entre era eran eres es esa esas
        ese eso esos esta está están estar estas este esto estos fue fueron ha había han hasta hay la las le les
        lo los más me mi mis muy nada ni no nos nosotros nuestra nuestro o os otra otros para pero por porque
        pues que qué quien quién se sea ser si sí sido sin sobre son su sus también tanto te tiene tienen todo
        todos tu tus u un una unas uno unos y ya yo
    """,
    "fa": """
        و در به از که این آن را با است برای بود شد شده می ها های هم یک تا بر یا اما اگر نیز هر همه خود ما من شما
        او آنها بودند باشد کرد کرده کند نمی باید چه چرا چگونه پس پیش بین روی دیگر
    """,
    "fi": """
        ja on ei se että oli ovat mutta tai kun niin kuin jos myös hän he me te minä sinä tämä tuo nämä joka
        jotka jonka jota joita mitä mikä missä milloin miten miksi kuka olla olen olet olemme olivat ollut ole
        eivät en emme sen sitä siitä siihen sille siellä sekä vaan vain vielä nyt jo hyvin kanssa mukaan ennen
        jälkeen ilman kaikki sillä
    """,
    "fr": """
        à afin ai ainsi alors après as au aucun aucune aussi autre autres aux avait avant avec avez avoir c car
        ce ceci cela celle celles celui ces cet cette ceux chaque chez comme comment d dans de depuis des donc
        dont du elle elles en encore entre es est et étaient était été être eu eux fait faut il ils j je jusqu l
        la là le les leur leurs lors lorsque lui m ma mais me même mes moins mon n ne ni nos notre nous on ont
        ou où par parce pas pendant peu peut peuvent plus pour pourquoi pouvez qu quand que quel quelle quelles
        quels qui quoi s sa sans se selon sera ses si son sont sous sur t ta te tes ton toujours tous tout toute
        toutes très tu un une vers vos votre vous y
    """,
    "hi": """
        का के की को में से पर और है हैं था थे थी यह वह ये वे कि जो तो भी नहीं ने एक इस उस इन उन लिए साथ कर करने
        किया गया जा रहा रहे रही हो होता होती होते अपने अपनी तक ही या जब तब क्या कैसे क्यों कौन कहाँ बाद द्वारा
    """,
    "hu": """
        a az és hogy nem is egy ez azt ezt de csak már mint meg még ha vagy volt van vannak lesz lehet kell mert
        el ki be fel le amely amelyek ami aki akik minden nagyon itt ott így úgy ezért után előtt között alatt
        felett szerint által sem se én te ő mi ti ők hogyan miért mikor hol mit milyen való illetve pedig sok
    """,
    "id": """
        yang dan di ke dari untuk dengan pada adalah ini itu dalam tidak akan oleh sebagai juga atau karena
        telah dapat bisa ada mereka kami kita saya anda dia ia bahwa seperti antara setelah sebelum harus lebih
        sudah belum masih hanya saat jika maka agar namun tetapi bagi para tersebut secara apa siapa mengapa
        bagaimana kapan
    """,
    "it": """
        a abbiamo ad agli ai al alla alle allo anche avere c che chi ci ciò come con contro cosa cui da dagli
        dai dal dalla dalle dallo degli dei del dell della delle dello di dopo dove e è ed era erano essere fra
        fu gli ha hai hanno ho i il in io l la le lei li lo loro lui ma me mentre mi mia mio molto ne negli nei
        nel nell nella nelle nello noi non nostra nostro o ogni per perché più po poi prima qual quale quali
        quando quanti quanto quella quelle quelli quello questa queste questi questo se sei senza si sia siamo
        siete solo sono sotto sta stata stato su sua sue sugli sui sul sulla sulle suo suoi tra tu tutti tutto
        un una uno vi voi
    """,
    "nl": """
        aan al alle alleen als altijd andere ben bij bijna binnen dan dat de deze die dit door dus een eens elk
        en er ervan geen had hadden heb hebben hebt heeft hem hen het hij hoe hoeveel hun ik in is ja je jij
        jouw jullie kan konden kunnen maar me meer men met mij mijn moet moeten na naar niet niets nog nu of om
        omdat ons onze ook op over te tegen tot tussen u uit uw van veel voor waar waarom wanneer want waren was
        wat we weer wel welke werd werden wie wij wil worden wordt zal ze zelf zich zij zijn zo zoals zonder zou
        zouden zullen
    """,
    "no": """
        alle at av bare ble bli blir både da de dem den denne der deres det dette din disse du eller en enn er
        et etter for fordi fra få får han hans har hadde ha henne hennes her hun hva hver hvem hvilke hvis hvor
        hvordan hvorfor i ikke inn jeg kan kun man mange med meg meget mellom men mer min mot må ned noe noen nå
        når og også om opp oss over på samme seg selv sin sine sitt skal skulle som så til under ut uten var ved
        vi vil være vært
    """,
    "pl": """
        a aby albo ale ani bardzo bez być był była było były będzie co czy czyli dla dlaczego do gdy gdzie go i
        ich ile im inne innych ja jak jako je jednak jego jej jest jeśli jeszcze już kiedy kto która które
        którego której który których którym którzy ma mają może można my na nad nas nie nim nich niż o od ona
        one oni oraz po pod ponieważ poza przed przez przy się są swoje ta tak także tam te tego tej ten to tu
        tych tylko tym u w we wszystkie z za ze że
    """,
    "pt": """
        a à ainda ao aos aquela aquele aqueles as às até com como contra cada da das de dela dele deles depois
        do dos e é ela elas ele eles em entre era eram essa esse esta está estão estar estas este estes eu foi
        foram há isso isto já la lhe mais mas me mesmo meu minha muito na não nas nem no nos nós nossa nosso num
        numa o onde os ou outra outros para pela pelas pelo pelos por porque porquê qual quais quando quanto
        quantos que quê quem se sem ser será seu seus só sobre são sua suas também tem têm ter tinha toda todos
        tu um uma umas uns você vocês
    """,
    "ro": """
        a acest această aceasta aceste acestea acestei acestor acestui ai al ale am ar are au avea această
        asupra ca că care către ce cei cel cele cine cum cu cât câte când da dacă dar de deci decât despre din
        după e ea ei el ele era este eu fără fi fie fiecare fost în între îi își îl îmi însă la le li lor lui
        mai mult ne nici noi nu o ori pe pentru pot prin printre sa să sale sau se si și sînt sunt sub sus te
        toate toți tot un una unei unele unor unui unde va vor vă
    """,
    "ru": """
        а без более бы был была были было быть в вам вас весь во вот все всех вы где да даже для до его ее её
        если есть еще ещё же за и из или им их к как какая какие какой когда кто ли либо между меня мне может мы
        на над надо нам нас не него нее нет ни них но ну о об однако он она они оно от очень по под после потому
        почему при про раз с сам со так также такой там те тем то того тоже той только том ты у уже хотя чего
        чем что чтобы чье эта эти это этого этой этом этот я
    """,
    "sv": """
        alla allt att av bara blev bli blir både de dem den denna deras dess dessa det detta dig din du där då
        efter eller en enligt er ett från för få får genom ha hade han hans har henne hennes hon honom hur här i
        icke in ingen inom inte jag kan kunde man med mellan men mer mig min mot mycket måste ni nu när någon
        något några och också om oss på samma sedan sig sin sina sitt ska skall skulle som så sådan till under
        upp ut utan vad var vara varför varit vem vi vid vilka vilken vilket vill är åt än även över
    """,
    "tr": """
        ve bir bu da de için ile olarak olan oldu olduğu olduğunu olması gibi daha çok en kadar sonra önce ama
        ancak veya ya ki ne o onun onlar ben sen biz siz mi mı mu mü değil var yok her hem ise göre tarafından
        üzerinde içinde arasında bunun buna bunu şu şey nasıl neden niçin kim hangi nerede kaç diye ayrıca bazı
        tüm bütün eğer ancak çünkü edilen eden
    """,
}

STOP_WORDS: Mapping[str, frozenset[str]] = {
    language: frozenset(unicodedata.normalize("NFKC", words).split()) for language, words in _LISTS.items()
}
"""By ISO 639-1 code; in lower case, and in the form NFKC."""
