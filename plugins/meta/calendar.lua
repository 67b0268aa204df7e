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

