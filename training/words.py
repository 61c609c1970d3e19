"""Plain English word lists for the pictures' texts, written by hand."""


def _list(text: str) -> list[str]:
    """Words between bars; line ends count as spaces."""
    return [name.strip() for name in " ".join(text.split()).split("|")]


def _words(text: str) -> list[str]:
    """Words between spaces."""
    return text.split()


NOUNS = _words(
    """
    apple river mountain garden window letter summer winter bridge market forest castle island harbor engine kitchen
    table chair mirror candle paper pencil bottle basket blanket pillow button pocket jacket sweater shoe glove hat
    scarf ticket train station airport plane boat ship sailor captain doctor nurse teacher student lawyer farmer
    baker painter singer dancer writer poet king queen prince princess knight dragon wizard ghost angel devil
    monster robot machine computer phone camera radio guitar piano violin drum trumpet song music story novel poem
    chapter page book library museum gallery theater cinema hotel restaurant cafe office factory school college
    hospital church temple tower wall gate door floor roof ceiling stairs street road path trail field meadow valley
    hill cliff cave desert ocean beach wave storm thunder lightning rain snow wind cloud sky sun moon star planet
    comet galaxy space rocket earth fire water stone sand gold silver copper iron steel glass wood leather cotton
    silk wool metal plastic rubber oil gas coal salt sugar pepper bread butter cheese milk cream coffee tea juice
    wine beer soup salad rice pasta pizza sandwich burger cookie cake pie chocolate candy honey jam egg bacon
    chicken turkey beef pork fish salmon tuna shrimp crab lobster potato tomato onion garlic carrot cabbage lettuce
    spinach pea bean corn pumpkin lemon orange banana cherry grape peach pear plum melon mango berry nut seed leaf
    root branch tree flower rose lily daisy tulip grass moss fern cat dog horse cow pig sheep goat duck goose swan
    eagle hawk owl crow raven sparrow robin parrot penguin whale dolphin shark octopus turtle frog snake lizard
    spider ant bee wasp butterfly moth beetle worm snail lion tiger bear wolf fox deer rabbit mouse rat squirrel
    monkey elephant giraffe zebra camel kangaroo panda koala heart hand finger arm leg foot head face eye ear nose
    mouth tooth hair skin bone blood brain mind soul dream hope fear love anger joy sorrow peace war battle victory
    defeat freedom justice truth lie secret mystery puzzle answer question problem idea plan project design model
    pattern shape circle square line point number letter word name voice sound silence light shadow darkness color
    morning evening night day week month year century hour minute second time clock history future past present
    moment memory journey voyage adventure travel map compass flag border country nation city town village street
    house home family mother father brother sister son daughter uncle aunt cousin friend neighbor guest stranger
    enemy hero villain leader member group team club party game ball goal score winner loser race prize medal gift
    box bag key lock chain rope knife fork spoon plate bowl cup pot pan oven stove lamp bulb battery wire cable
    screen keyboard button signal message email report record file folder bank money coin price cost sale store shop
    customer order bill tax rent loan debt profit loss trade stock market world people child baby man woman boy girl
    person crowd army soldier police guard judge court law rule crime prison escape rescue danger safety health
    illness medicine cure energy power force speed weight height width depth distance temperature pressure season
    spring autumn weather climate
    """
)
ADJS = _words(
    """
    red blue green yellow black white brown gray golden silver bright dark light heavy soft hard warm cold hot cool
    fresh old new young ancient modern quick slow fast early late long short tall small large big little tiny huge
    great grand deep shallow high low wide narrow thick thin strong weak brave clever wise foolish happy sad angry
    calm quiet loud silent gentle fierce wild tame kind cruel rich poor clean dirty empty full open closed hidden
    lost found broken perfect simple complex strange familiar common rare special secret public private free busy
    lazy hungry thirsty tired awake sleepy alive dead real false true sweet bitter sour salty spicy dry wet smooth
    rough sharp dull round flat straight crooked hollow solid frozen burning shining glowing fading rising falling
    endless final first last second third northern southern eastern western royal noble humble proud lonely friendly
    lucky unlucky magic sacred daily weekly annual local foreign urban rural digital electric natural organic
    crimson scarlet violet emerald amber ivory
    """
)
VERBS = _words(
    """
    walk run jump climb swim fly drive ride sail read write speak listen watch look see hear feel touch taste smell
    think know learn teach study work play rest sleep wake eat drink cook bake clean wash build break fix make
    create destroy find lose keep give take bring send carry hold drop throw catch push pull open close start stop
    begin end win fight protect attack defend help hurt love hate like want need hope wish dream believe doubt
    remember forget ask answer tell show hide seek follow lead move stay leave arrive return wait hurry grow change
    turn cut join share save spend buy sell pay earn count measure draw paint sing dance laugh cry smile shout
    whisper travel visit explore discover invent imagine
    """
)
FUNC = _words(
    """
    the a an of and to in is it for on with as at by from or but not this that these those was were are be been has
    have had will would can could should may might must do does did if then than so because while when where who
    what which how why all any some many few more most other such no nor only own same too very just about above
    after again against before below between both down during each further here into off once out over through under
    until up we you he she they his her their our your its my me him them us there
    """
)
FIRST = _words(
    """
    James Mary John Anna Robert Linda Michael Susan William Karen David Nancy Richard Lisa Joseph Betty Thomas Helen
    Charles Sandra Daniel Donna Matthew Carol Anthony Ruth Mark Sharon Donald Laura Steven Sarah Paul Emma Andrew
    Olivia Kevin Sophia Brian Grace George Chloe Edward Zoe Ronald Alice Peter Clara Henry Elena Oscar Maria Felix
    Nina Victor Julia Leo Vera Hugo Iris Max Eva Samuel Rosa Walter Jane Arthur Kate Simon Lucy Adam Amy Frank Diana
    Jack Nora Harold Ella Ivan Tara Omar Leila Ravi Priya Chen Mei Kenji Yuki Carlos Lucia Pablo Sofia
    """
)
LAST = _words(
    """
    Smith Johnson Williams Brown Jones Garcia Miller Davis Rodriguez Martinez Hernandez Lopez Gonzalez Wilson
    Anderson Thomas Taylor Moore Jackson Martin Lee Perez Thompson White Harris Sanchez Clark Ramirez Lewis Robinson
    Walker Young Allen King Wright Scott Torres Nguyen Hill Flores Green Adams Nelson Baker Hall Rivera Campbell
    Mitchell Carter Roberts Gomez Phillips Evans Turner Diaz Parker Cruz Edwards Collins Reyes Stewart Morris
    Morales Murphy Cook Rogers Gutierrez Ortiz Morgan Cooper Peterson Bailey Reed Kelly Howard Ramos Kim Cox Ward
    Richardson Watson Brooks Chavez Wood Bennett Gray Mendoza Hughes Price Myers Long Foster Sanders Ross Jimenez
    Orwell Austen Dickens Tolstoy Twain Woolf Hardy Verne Wells Poe Shelley Bronte Eliot Keats Byron Blake Ibsen
    Kafka Hesse Mann
    """
)
SIGNS = _list(
    """
    STOP|EXIT|NO PARKING|ONE WAY|DO NOT ENTER|NO SMOKING|WET FLOOR|PUSH|PULL|OPEN|CLOSED|SPEED
    LIMIT|YIELD|DETOUR|CAUTION|DANGER|HIGH VOLTAGE|KEEP OUT|PRIVATE PROPERTY|NO ENTRY|FOR SALE|SOLD OUT|FREE
    COFFEE|BUS STOP|TAXI|PARKING|RESTROOM|INFORMATION|TICKETS|WELCOME|BEWARE OF DOG|NO SWIMMING|SCHOOL ZONE|ROAD
    WORK|DEAD END|SLOW DOWN|NO DOGS|STAFF ONLY|FIRE EXIT|FIRST AID|LOST AND FOUND|BIG SALE|HALF PRICE|FRESH
    BREAD|HOT DRINKS|ICE CREAM|BOOK FAIR|LIVE MUSIC|CAR WASH|GAS STATION|HOTEL|MUSEUM|LIBRARY|NO TURN ON RED
    """
)
ITEMS = _words(
    """
    Milk Bread Butter Cheese Eggs Apples Bananas Coffee Tea Sugar Rice Pasta Salad Soup Juice Water Soda Chips
    Cookies Cake Yogurt Honey Jam Salt Pepper Onions Carrots Tomatoes Potatoes Lettuce Chicken Beef Salmon Tuna
    Bacon Ham Pizza Burger Fries Sandwich Donut Muffin Bagel Soap Shampoo Towel Paper Pens Notebook Stamps Candle
    Batteries Lamp Socks Gloves Hat Umbrella Magazine Flowers Wine Beer Olives Nuts
    """
)
STORES = _list(
    """
    Corner Market|Green Grocer|City Deli|Sunny Cafe|Book Nook|Quick Mart|Fresh Foods|Daily Bread|Blue Bottle|Old
    Town Shop|Super Store|River Cafe|Golden Bakery|Happy Pets|Star Pharmacy|Family Diner|Garden Center|Central
    Kiosk|Pizza Place|Toy World
    """
)
STREETS = _words(
    """
    Street Avenue Road Lane Drive Boulevard Way Place Court Square St Ave Rd
    """
)
TOPICS = _list(
    """
    Sales|Visitors|Scores|Rainfall|Exports|Books Read|Votes|Profit|Population|Calories|Energy
    Use|Orders|Downloads|Points|Budget|Results|Revenue|Net Income|Market
    Share|Users|Costs|Temperature|Production|Subscribers|Annual Revenue|Employees|Growth|Website Traffic|Units
    Sold|Donations|Attendance|Expenses
    """
)
HEADERS = _words(
    """
    Name Item Price Quantity City Country Year Age Team Points Score Product Stock Date Total Amount Code Size Color
    Weight Height Status Rank Player Language Capital Population Model Speed Type Region Units Cost Day Time Room
    Hours Grade Subject Teacher Email Phone Department Role Distance
    """
)
FIELDS = _list(
    """
    Name|Date|Address|City|Phone|Email|Order Number|Invoice Number|Customer|Amount|Total|Due
    Date|Country|Age|ID|Account|Company|Department|Title|Flight|Gate|Seat|Departure|Arrival|Passenger|Room|Guests|Check-in|Check-out|Status|Reference|Date
    of Birth|Nationality|Occupation|Product|Quantity|Price|Weight|Delivery|Contact
    """
)
CITIES = _words(
    """
    Paris London Rome Berlin Madrid Oslo Lima Tokyo Cairo Vienna Dublin Athens Lisbon Prague Warsaw Boston Denver
    Chicago Seattle Toronto Sydney Delhi Seoul Bangkok Nairobi Havana Geneva Milan Munich Porto
    """
)
CATEGORIES = [
    group.split()
    for group in (
        "Mon Tue Wed Thu Fri Sat Sun",
        "Monday Tuesday Wednesday Thursday Friday",
        "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
        "January February March April May June",
        "Q1 Q2 Q3 Q4",
        "A B C D E F G H",
        "North South East West",
        "Red Blue Green Pink Gray",
        "Apples Pears Plums Grapes Figs Kiwis Limes",
        "Cats Dogs Birds Fish Mice",
        "Paris London Rome Berlin Madrid Oslo Lima Tokyo",
        "Asia Africa Europe America Oceania",
        "Tea Coffee Juice Water Soda Milk",
        "Bus Car Train Bike Walk",
        "Bronze Silver Gold",
    )
]
