---@meta
-- Written by `hamroh worker --meta`; not by hand.

--- Free hours and moments, in the institution's zone.
---@class calendar
calendar = {}

--- Times at which both have a free hour of the week, in order, without those that meet something in busy.
---@param options {a: integer[], b: integer[]?, from: integer, days: integer?, minutes: integer?, busy: integer[][]?, limit: integer?}
---@return {starts: integer, minutes: integer, weekend: boolean}[]
function calendar.slots(options) end

--- How many hours of the week both are free.
---@param a integer[]
---@param b integer[]
---@return integer
function calendar.overlap(a, b) end

--- Those of Saturday and Sunday.
---@param hours integer[]
---@return integer[]
function calendar.weekend(hours) end

--- A moment in the institution's zone; weekday 1 is Monday.
---@param ms integer
---@return {year: integer, month: integer, day: integer, hour: integer, minute: integer, weekday: integer, hour_of_week: integer}
function calendar.local_time(ms) end

--- Its date there, such as "2026-09-01".
---@param ms integer
---@return string
function calendar.date(ms) end

--- The moment of a date and time in the institution's zone.
---@param year integer
---@param month integer
---@param day integer
---@param hour? integer
---@param minute? integer
---@return integer
function calendar.at(year, month, day, hour, minute) end

--- The hours of the week at which both are free.
---@param a integer[]
---@param b integer[]
---@return integer[]
function calendar.common(a, b) end

--- The moment of "2026-09-01" (its beginning) or "2026-09-01 14:30" in the institution's zone; nil when it is none.
---@param text string
---@return integer?
function calendar.parse(text) end

--- The beginning of its day there.
---@param ms integer
---@return integer
function calendar.day(ms) end

--- The beginning of its week, Monday.
---@param ms integer
---@return integer
function calendar.week(ms) end

--- The beginning of its month.
---@param ms integer
---@return integer
function calendar.month(ms) end

--- How many midnights lie between: 0 for two moments of one day.
---@param from integer
---@param to integer
---@return integer
function calendar.days_between(from, to) end

--- So much later (or earlier), at the same time of the day; a month after 31 January is the last of February.
---@param ms integer
---@param amount {years: integer?, months: integer?, weeks: integer?, days: integer?, hours: integer?, minutes: integer?}
---@return integer
function calendar.add(ms, amount) end

--- As people write it in uz, uz-Cyrl, ru, en: "date" (1 September 2026), "time" (09:00), "datetime", "weekday", "day" (weekday and date).
---@param ms integer
---@param locale? string
---@param form? string
---@return string
function calendar.format(ms, locale, form) end

--- The next moment of a time as in `every`, such as "0 8 * * mon-fri".
---@param cron string
---@param after integer
---@return integer
function calendar.next(cron, after) end

