---@meta
-- Written by `hamroh worker --meta`; not by hand.

--- Pairs by a declared rule.
---@class match
match = {}

--- One pair by a rule: may it be, what is against it (the name of a `must`, "self" or "pair"), and the points of each criterion of `prefer`. A person is {id=, data=}; what is not known excludes nobody and earns nothing.
---@param rule table
---@param mentee Person
---@param mentor Person
---@return {may: boolean, why: string?, points: integer, parts: integer[]}
function match.judge(rule, mentee, mentor) end

--- For each mentee the best mentors (5 unless said), as places in the list; places that are taken are not looked at.
---@param rule table
---@param mentees Person[]
---@param mentors Person[]
---@param options? {best: integer?}
---@return {mentor: integer, points: integer, parts: integer[]}[][]
function match.score(rule, mentees, mentors, options) end

--- The bare assignment: rows[i] lists {mentor, points} for mentee i, seats[j] the places of mentor j. Gives a list with the mentor of each mentee (0: nobody), and in it matched, total, certified.
---@param problem {rows: integer[][][], seats: integer[], priority: integer[]?}
---@return table
function match.solve(problem) end

--- The best pairs for all: first as many as can be, then who waits longest (the rule's priority), then the highest worst pair (fairness floor = "highest"), then the points. A mentor has `free` places, 1 unless said. certified: proved to be the best. Of each mentee the 200 best mentors are looked at; where there were more, pruned is true, certified is false, and with many equal scores fewer may be matched than could be (match.solve has no such limit).
---@param rule table
---@param mentees Person[]
---@param mentors Person[]
---@param options? {fixed: integer[][]?}
---@return {pairs: {mentee: integer, mentor: integer, points: integer}[], unmatched: {mentee: integer, why: string, fits: integer}[], matched: integer, total: integer, worst: integer?, median: integer?, floor: integer, certified: boolean, pruned: boolean}
function match.assign(rule, mentees, mentors, options) end

