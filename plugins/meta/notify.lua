---@meta
-- Written by `hamroh worker --meta`; not by hand.

--- Telling people and programs: kept with what the call writes, sent by the server.
---@class notify
notify = {}

--- Tells somebody of the institution: in the web client, and where they asked for it by e-mail or Telegram. key: what it is about, such as "meeting.proposed"; its first word is what one can choose to be told of. text: in uz, uz-Cyrl, ru, en. action: the screen it leads to, such as "pair/ID". urgent: also in quiet hours. safe: the text holds nothing private, so that it may be sent outside; else only that there is news. once: told already under this word, it is not told again (nil). Gives its id.
---@param person string
---@param news {key: string, text: table, action: string?, urgent: boolean?, safe: boolean?, once: string?, args: table?}
---@return string?
function notify.person(person, news) end

--- An event for another program, where an administrator has set up a webhook of this name; false when there is none. data goes out of the house: ids rather than names.
---@param name string
---@param event string
---@param data? table
---@return boolean
function notify.webhook(name, event, data) end

