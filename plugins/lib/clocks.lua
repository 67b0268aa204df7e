-- Everything that waits has a clock that both sides see (mission: silence is the loudest complaint).
local clocks = {}

clocks.minute = 60 * 1000
clocks.hour = 60 * clocks.minute
clocks.day = 24 * clocks.hour

clocks.request = 3 * clocks.day        -- a request for mentoring waits so long, then moves on by itself
clocks.first_meeting = 10 * clocks.day -- from the start of a pair to its first meeting
clocks.quiet = 14 * clocks.day         -- no word and no meeting for so long: somebody should ask
clocks.reply = 2 * clocks.day          -- a message that nobody answered
clocks.closing = 28 * clocks.day       -- "after" questionnaires open so long before a programme ends

-- Whole days that have passed, and whole days that are left (rounded up: "1 day left" is still today).
function clocks.days_since(now, moment) return math.max(0, (now - moment) // clocks.day) end
function clocks.days_left(now, due) return math.max(0, -((now - due) // clocks.day)) end

return clocks
