# SPDX-License-Identifier: Apache-2.0
"""Words too common to tell one text from another, by language (ISO 639-1), as they are usually written.

The English list is the one that match quality was measured with. The others hold what a few listings in a
language would otherwise be matched by in a catalogue that is mostly English, where every "und" is rare:
articles, pronouns, prepositions, conjunctions, auxiliaries. A language without a list keeps its small words.
"""

from collections.abc import Mapping

WORDS: Mapping[str, str] = {
    "en": """
        a about above after again against ain all am an and any are aren as at be because been before being
        below between both but by can couldn d did didn do does doesn doing don down during each few for from
        further had hadn has hasn have haven having he her here hers herself him himself his how i if in into is
        isn it its itself just ll m ma me mightn more most mustn my myself needn no nor not now o of off on once
        only or other our ours ourselves out over own re s same shan she should shouldn so some such t than that
        the their theirs them themselves then there these they this those through to too under until up ve very
        was wasn we were weren what when where which while who whom why will with won wouldn y you your yours
        yourself yourselves
    """,
    "bg": """
        а ако ала без беше би бъде в вас ви вие все всички всеки във г ги да дали до докато е един една едно за
        защо и из или им имат има как като както какво кой която които което към ли ме между ми мнозина много
        може на над най нас наш не него нея нещо ни ние но някой от по под при с са само се си след сме със съм
        така там те тези това той тя у че ще я
    """,
    "cs": """
        a aby aj ale ani ano asi az bez bude budou by byl byla bylo byly být ci co coz do ho i ja jak jako je
        jeho jej jeji jejich jen jeste ji jich jim jsem jsme jsou k kam kde kdo kdy když ke která které který
        kteří ma máme mají mezi mi mu my na nad nam nas nebo nejsou není než nim o od on ona oni po pod podle
        pokud pouze pro proc proto protože před při s se si své svůj ta tak take tam tato tedy ten tento teto to
        toho tohoto tom tomu tu ty u už v ve však všech všechny vy z za zda ze že
    """,
    "da": """
        af alle alt at blev blive bliver både da de dem den denne der deres det dette dig din disse dog du efter
        eller en er et for fra før ganske gennem gør ham han hans har have havde hendes her hos hun hvad hvem
        hver hvis hvor hvordan i ikke ind jeg jer kan kun man mange med mellem men mere mig mod må ned noget
        nogle nu når og også om op os over på samt se sig sin sine sit skal skulle som så til ud under var ved
        vi vil ville vor være været
    """,
    "de": """
        aber alle allem allen aller alles als also am an andere anderen anderer auch auf aus bei beim bin bis
        bist da dabei damit dann das dass dazu dein dem den denn der des deren dessen die dies diese diesem
        diesen dieser dieses doch dort du durch ein eine einem einen einer eines er es etwa etwas euch für gegen
        haben hat hatte hatten hier ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im in ins ist ja jede jedem
        jeden jeder jedes jetzt kann kein keine keinen können könnte man mehr mein meine mich mir mit möchte
        möchten müssen muss nach nicht nichts noch nun nur ob oder ohne sehr sein seine seinem seinen seiner
        seit sich sie sind so sollen sollte soll sondern sowie über um und uns unser unsere unserem unseren
        unserer unter viel viele vom von vor war waren was weil welche welcher wenn werden wer wie wieder will
        wir wird wo wollen wurde wurden zu zum zur zwischen
    """,
    "el": """
        αλλά αν από αυτά αυτές αυτή αυτό αυτοί αυτός αυτών για δεν δύο εδώ εκεί ένα έναν ένας επί έχει έχουν η
        ή ήταν θα και κάθε κατά κι με μετά μέσα μη μην μια μία μας μου να ο οι όπως ότι όταν όχι πιο ποια πολύ
        που πρέπει προς πώς σας σε στα στη στην στις στο στον στους στων τα τη την της τι τις το τον του τους
        των υπό χωρίς ως είναι
    """,
    "es": """
        a al algo algunas algunos ante antes aquel aquella aunque así aún bajo bien cada como con contra cual
        cuando cuya cuyo de del desde donde dos durante e el ella ellas ellos en entre era eran es esa esas ese
        eso esos esta está están estas este esto estos fue fueron ha han hacia hasta hay la las le les lo los más
        me mediante mi mientras muy nada ni no nos nosotros nuestra nuestras nuestro nuestros o otra otras otro
        otros para pero poco por porque pues que qué quien quienes se según ser será si sí sido sin sino sobre
        son su sus también tan tanto te tiene tienen toda todas todo todos tras tu tus u un una unas uno unos y
        ya yo
    """,
    "et": """
        aga ei ega ehk enda enne et ja jah ka kas keda kelle kes kõik kogu kohta koos kui kuid kuidas kus küll
        läbi ma me meie mida mille millest millal mis mitte mõne muu nad nagu need neid nende nii ning nüüd oli
        olid olla oma on palju peab pole pärast saab saavad see seda selle selles sest siin siis sind ta tema
        teie tõttu tuleb vaid vastu veel või võib väga üks üle
    """,
    "fi": """
        ei eivät ell emme en että he heidän heille hän hänen ihan ilman itse ja jo joiden joita joka jokainen
        jolla jolle jonka joissa jos jossa josta jota jotka jotta juuri kaikki kanssa koko koska kuin kuinka
        kun me meidän meille mikä millä missä mitä molemmat monet mukaan mutta muut myös ne niiden niin niitä
        noin nyt näiden näitä nämä ole oli olisi olivat olla on ovat pitää saa se sekä sen siellä siitä sillä
        sinä sitä tai tällä tämä tämän tässä tästä tätä te tähän vaan vain vai vielä voi voidaan voivat yli
    """,
    "fr": """
        a afin ai ainsi alors après as au aucun aucune aussi autre autres aux avant avec avoir beaucoup c car ce
        cela celle celles celui ces cet cette ceux chaque chez comme comment d dans de depuis des deux doit
        doivent donc dont du elle elles en encore entre est et était étaient été être eux faire fait font il ils
        j je jusqu l la le les leur leurs lors lorsque lui m ma mais me même mes moins mon n ne ni nos notre
        nous on ont où ou par parce parmi pas peu peut peuvent plus plusieurs pour pourquoi puis qu quand que
        quel quelle quelles quels qui quoi s sa sans se selon sera seront ses si sont sous son sur ta te tous
        tout toute toutes très trop tu un une vers voudrions voulons vos votre vous y
    """,
    "ga": """
        a ach ag agus ann ar as atá ba bhí cad ce chun ci de do don é ea faoi fuair ga go gur i iad in is isteach
        ina le leis ma me mo mura na nach ni níl no nó os ó roimh sa sé seo sí sin sna sibh siad sinn thar tú
        tá um
    """,
    "hr": """
        a ako ali bez bi bila bili bilo bio biti će da do dok ga gdje i iako ili im ima imaju iz između ja je
        jer jesu još kada kako kao ko koja koje koji kojih kroz li me među mi mnogo može moraju na nad nakon nam
        nas ne nego nema netko ni nije nisu no njih njihov o od on ona oni ono ova ovaj ove ovo po pod pored
        prema pri prije s sa samo se si smo sto su sve svi svih svoj ta taj tako također te ti to u uz vam vas
        već vi vrlo za zato zbog što
    """,
    "hu": """
        a abban ad ahhoz aki akik akkor alatt amely amelyek amit annak arra attól az azok azt azzal be csak de
        e egy egyes egyik el ellen előtt én és ez ezek ezen ezt ezzel fel ha hanem hogy hogyan hol ide így igen
        is itt jól kell ki kívül között le legyen lehet lesz meg mely melyek mert mi míg mikor milyen mind minden
        mint mit most nagyon ne nekik nekünk nem nincs ő ők olyan ott pedig s saját sem soha sok szerint számára
        től tehát tovabb több úgy után utan vagy vagyunk valamint van vannak volt voltak
    """,
    "id": """
        ada adalah agar akan anda antara apa atas atau bagaimana bagi bahwa banyak beberapa belum bisa boleh
        dalam dan dapat dari daripada dengan di dia harus hingga ia ingin ini itu jadi jika juga kami kamu
        karena ke kepada ketika kita lagi lain lalu lebih maka masih mereka namun oleh pada para paling pun saat
        saja sambil sampai sangat saya sebagai sebuah secara sedang sehingga sejak selama seperti serta setelah
        setiap siapa suatu sudah supaya tanpa telah tentang terhadap tersebut tetapi tidak untuk yaitu yang
    """,
    "it": """
        a abbiamo ad agli ai al alla alle allo anche ancora anni che chi ci come con contro cui da dagli dai dal
        dalla dalle de degli dei del dell della delle dello di dopo dove due e è ed essere fra gli ha hanno i il
        in io l la le lei li lo loro lui ma me mentre mi mia molti molto ne negli nei nel nella nelle nello no
        noi non nostra nostre nostri nostro o ogni oltre per perché però più poi quale quali quando quanto quella
        quelle quelli quello questa queste questi questo qui se sé sei senza si sia siamo siano sono sopra sotto
        su sua sue sugli sui sul sulla sulle suo suoi tra tu tutte tutti tutto un una uno vi voi è
    """,
    "lt": """
        ar arba apie aš bei be bet bus buvo būti būtų čia dar dėl gali i ir iš iki į ja jam jau jei ji jie jo jos
        joms jų ka kad kai kaip kas kiekvienas kur kuri kurie kuris kurių labai mes mūsų ne nei nes net nėra nuo
        o pagal pas per po prie prieš savo su ta tai taip tam tarp tas tik to todėl tokia toks tuo turi tūri už
        yra
    """,
    "lv": """
        ap ar arī bet bez bija būs būt caur citi dažādi dēļ es gan ir ja jau jo jūs ka kā kad kam kas katrs ko
        kopā kur kura kuras kuri kuru ļoti lai līdz ne nav nevar no nu pa par pat pēc pie pirms priekš savu
        savas starp šādi šī šie šīs šo tā tad tādēļ tajā tam tas te tikai tie to tomēr tur un uz vai var vairāk
        vēl viņa viņi viņš virs visi visu zem
    """,
    "ms": """
        ada adalah agar akan anda antara apa atas atau bagaimana bagi bahawa banyak beberapa belum boleh dalam
        dan dapat dari daripada dengan di dia hendak ia ialah ini itu jika juga kami kamu kerana ke kepada kita
        lagi lain lebih mahu maka masih mereka namun oleh pada para perlu pun saya sahaja sebagai sebuah secara
        sedang sehingga sejak semasa seperti serta setiap siapa suatu sudah supaya tanpa telah tentang terhadap
        tersebut tetapi tidak untuk yang
    """,
    "nl": """
        aan al alle als altijd andere ben bij daar dan dat de der deze die dit doen door dus een en er ge geen
        had hadden hebben heeft hem het hier hij hoe hun iemand iets ik in is ja je jij kan kon kunnen maar me
        meer men met mij mijn moet moeten na naar niet niets nog nu of om omdat ons onze ook op over reeds te
        tegen toch toen tot tussen u uit uw van veel voor vanuit waar wat we wel werd wie wij wil willen worden
        wordt zal ze zei zelf zich zij zijn zo zonder zou zoals
    """,
    "no": """
        alle at av bare ble blir da de deg dei dem den denne der dere deres det dette din disse du eller en enn
        er et ett etter for fordi fra før gjennom ha hadde han hans har hennes her hos hun hva hver hvilke hvis
        hvor hvordan i ikke inn jeg kan kun man mange med meg mellom men mer mot må ned noe noen nå når og også
        om opp oss over på samt seg selv si sin sine skal skulle som så til ut uten under var ved vi vil ville
        vår våre være vært
    """,
    "pl": """
        a aby ale albo ani aż bardzo bez bo by być był była było były będzie będą choć ci co czy czyli dla dlatego
        do gdy gdzie i ich ile im inne innych iż ja jak jako je jednak jego jej jest jestem jeszcze jeśli już
        każdy kiedy kto która które którego której który których którym którzy lub ma mają mamy może można mu my
        na nad nam nas nasz nasze naszym nie nich niej nim niż o od on ona one oni oraz po pod poprzez ponieważ
        przed przez przy są się swoich swoje swój tak także tam te tego tej ten też to tu ty tych tylko tym u w
        we więc wiele wszystkich wszystkie wśród z za ze że
    """,
    "pt": """
        a ainda algumas alguns ante ao aos apenas após aquela aquele aqui as até cada com como contra da das de
        dela dele deles depois desde deste do dos e é ela elas ele eles em entre era essa esse esta está estão
        este estes eu foi foram há isso isto já la lhe mais mas me mesmo meu muito muitos na não nas nem no nos
        nós nossa nossas nosso nossos num numa o os ou outra outras outro outros para pela pelas pelo pelos por
        porque qual quando que quem são se seja sem ser será seu seus sob sobre sua suas só também te tem têm
        toda todas todo todos tu um uma umas uns você
    """,
    "ro": """
        a acea aceasta această aceste acest acestui acolo ai al ale am ar are as asupra atât au avea ca că când
        care cât catre către ce cea cei cel cele cine cu cum da dacă dar de deci decât despre din dintre doar
        după ea ei el ele era este eu fara fără fi fie fost iar în între își îi îl îmi la le li lor lui mai
        multe mult mulți ne nici noastre noastră noi nostru nou nu o ori pe pentru peste poate pot prin sa să
        sau se si și sunt sub te toate tot toți tu un una unde unei unor unui unul va voi vor
    """,
    "ru": """
        а без более бы был была были было быть в вам вас весь во вот все всего всех вы где да даже для до его ее
        если есть еще ещё же за здесь и из или им их к как какой ко когда который которая которые которых кто
        ли либо между меня мне много может можно мы на над надо нам нас наш наша наше наши не него нее нет ни
        них но ну о об однако он она они оно от очень по под после потому при про с сам свои свой свою себя со
        так также такие там те тем то того тоже той только том ты у уже хотим чем через что чтобы чья эта эти
        это этой этом этот я
    """,
    "sk": """
        a aby aj ako ale alebo ani asi až bez bola bolo boli bol bude budú by byť cez čo či do ešte ho i ich iba
        ich im ja je jeho jej ju k kam každý kde kedy keď keďže kto ktorá ktoré ktorí ktorý ktorých ku ma majú
        má máme medzi mi mu musí my na nad nám nás náš naše nie nich niektoré o od on ona oni po pod podľa
        pokiaľ pre preto pretože pred pri s sa si sme so som sú svoj svoje svojich ta tak také takže tam táto
        tento tie tieto to toho tom tu ty už v vo však všetky viac z za zo že
    """,
    "sl": """
        a ali ampak bi bil bila bili bilo biti bo bodo brez če da do dokler dve en ena eno ga gre i iz ima imajo
        in iz jaz je jih jim jo ji k kaj kako kar katera katere kateri katerih ker ki kje ko kot le lahko med mi
        mora morajo mu na nad naj nam nas naš naše ne nekaj ni nič nismo niso njih njihove o ob od on ona oni pa
        po pod pred preko prek pri s samo se si smo so sta svoje svojih ta tako tam te tega ti tisti to toda tudi
        tem v vas ve več vendar vi vse vsak vseh z za zakaj zaradi zato zelo že
    """,
    "sv": """
        alla allt att av bara bland blev bli blir både da de dem den denna deras dess dessa det detta dig din
        dock du där då efter eller en enligt er ett fler flera för från få får genom går ha hade han hans har hon
        hos hur här i icke igen in inga ingen innan inom inte ja jag kan kunna kunde man med mellan men mer mera
        mig min mot mycket måste ned ni nu någon något några när och också om oss på samma samt sedan sen sig sin
        sina sitt själv ska skall skulle som så till under upp ut utan vad var vara varit varje vart vem vi vid
        vilka vilken vill vår våra vårt än är även åt över
    """,
    "tl": """
        alin ako ang ano at ay ayon ba bago bakit bawat bilang dahil dapat dito din doon eto ga gaya ginagawa
        habang hanggang hindi ibang ikaw ilan isang ito iyon ka kami kanila kanilang kanya kapag kaya kayo ko
        kung lahat lamang lang ma maaari maging man mas may mayroon mga mula na nag naman namin natin ng ngayon
        nila nito niya nang o pa paano pag pagkatapos para pati pero po rin sa saan sila sino siya subalit tayo
        tulad upang wala walang
    """,
    "vi": """
        ai ấy bằng bị bởi cả các cái cần chỉ cho chưa chúng có còn con của cũng cùng cứ dã dù dưới đã đang đây
        để đến đó do đối được đều gì giữa giúp hay hoặc hơn họ khi không là lại lên mà mình mỗi mới một muốn nay
        này nào nên nếu như nhưng những nhiều nó nơi ở phải qua ra rằng rất rồi sau sẽ sự ta tại tất theo thì
        thường tôi từ từng trên trong trước tuy và vẫn vào vì việc với vừa
    """,
}
"""Stop words by language, parted by blanks."""
