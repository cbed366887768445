"""Short forms of given names, so that Bill and William can be one person."""

from __future__ import annotations

# Each line: the long form first, then its short forms. Common ones of English, and some of German, French and Spanish.
_FORMS = """
abigail abby gail
albert al bert bertie
alexander alex sandy xander sasha
alexandra alex sandra lexi
alfred alf alfie fred
amanda mandy
andrew andy drew
andreas andy andi
angela angie
anthony tony
antonio tony toni
barbara barb barbie babs
benjamin ben benny benji
bernard bernie
bradley brad
caroline carol carrie
catherine cathy kate katie cath cat
katherine kathy kate katie kat kitty
charles charlie chuck chas
charlotte charlie lottie
christina chris tina christy
christine chris chrissy
christopher chris kit topher
clifford cliff
cynthia cindy
daniel dan danny
danielle dani
david dave davy
deborah deb debbie
dennis den denny
dominic dom nick
donald don donnie
dorothy dot dottie dolly
douglas doug
edward ed eddie ted teddy ned
eleanor ellie nell nora
elizabeth liz lizzie beth betty eliza lisa libby bess
emily em emmy
eugene gene
evelyn eve evie
florence flo
frances fran frankie
francis frank fran
francisco paco pancho
franklin frank
frederick fred freddie
friedrich fritz
gabriel gabe
gabrielle gabby
gerald gerry jerry
gregory greg
harold harry hal
heinrich heinz
henry hank harry
isabella bella izzy
isabelle belle izzy
jacob jake
jacqueline jackie
james jim jimmy jamie
janet jan
jeffrey jeff
jennifer jen jenny
jeremy jerry jem
jessica jess jessie
johannes hans
john jack johnny jon
jonathan jon jonny
jose pepe
joseph joe joey
josephine jo josie
joshua josh
judith judy
julia jules
kenneth ken kenny
kimberly kim
lawrence larry laurie
leonard len leo lenny
leslie les
louis lou
louise lou
madeline maddy
madeleine maddy
margaret maggie meg peggy marge margie rita
maria mia
martin marty
mary molly polly
matilda tilly
matthew matt matty
maximilian max
megan meg
melissa mel missy
michael mike mick mickey
michelle shelly
mitchell mitch
natalie nat
natasha tasha
nathan nate
nathaniel nat nate
nicholas nick nicky
nicole nicky nikki
oliver ollie
olivia liv livvy
pamela pam
patricia pat patty trish tricia
patrick pat paddy
peter pete
philip phil pip
phillip phil
rachel rach
raymond ray
rebecca becky becca
richard rick dick rich ricky
robert rob bob bobby robbie bert
roberta bobbie
ronald ron ronnie
rosemary rose rosie
russell russ
samantha sam sammy
samuel sam sammy
sarah sally sadie
sebastian seb
sophia sophie
stanley stan
stephanie steph
stephen steve
steven steve stevie
stuart stu
susan sue susie suzy
suzanne sue suzy
teresa terry tess
theodore ted theo
theresa terry tess
thomas tom tommy
timothy tim timmy
valerie val
victor vic
victoria vicky tori
vincent vince
virginia ginny
walter walt wally
wilhelm willi
william bill will billy willy liam
zachary zach zac
"""

# Given names without short forms that tell a column of given names, beside those above.
_OTHERS = """
adam aidan alan alana alice amelia amy ana anders anna anne anton arthur ashley ava blake brian bruno caitlin callum
carla carlos carmen chloe claire clara claudia connor courtney diana diego dylan elena ella emma eric erik erin
ethan eva fatima felix finn fiona frank georgia giovanni giulia grace hannah harrison harry helen ibrahim ingrid isaac
jack jackson jan jane jasmine jean jens jorge juan julie jurgen karen karl katja kevin klaus lachlan lara lars laura
lauren leah lena li lily linda luca lucas lucia lucy luis luke maya mia marc marco marie mark marta mateo max mehmet
miguel mohammed muhammad noah nina olga pablo paul paula pedro pierre rosa ruby ruth ryan sara scott sean sofia stefan
sven taylor tyler ursula wei wolfgang xavier yusuf zoe
"""

_LINES = tuple(tuple(line.split()) for line in _FORMS.strip().splitlines())
GIVEN_NAMES = frozenset(name for line in _LINES for name in line) | frozenset(_OTHERS.split())


def short_forms() -> dict[str, str]:
    """Each form with the first long form that it may stand for; long forms stand for themselves.

    >>> short_forms()["bob"], short_forms()["robert"]
    ('robert', 'robert')
    """
    forms: dict[str, str] = {}
    for line in _LINES:
        for form in line:
            forms.setdefault(form, line[0])
    return forms


def is_given_name(word: str) -> bool:
    """Whether a word in small letters is a common given name.

    >>> is_given_name("william")
    True
    """
    return word in GIVEN_NAMES
