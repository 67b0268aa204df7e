-- What people write to each other. Kept lean: a message is one write, and reaches every member through the feed.
local function send(ctx, p)
  if not ctx:is_member(p.to) then ctx:require(p.to) end
  local record = store.put("message", { data = { to = p.to, from = ctx.person, text = p.text, sent = ctx.now },
    audience = { p.to } })
  return { id = record.id, sent = ctx.now }
end
return send
