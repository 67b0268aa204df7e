-- What people write to each other. A message is one check and one write, and reaches every member through the feed.
local function send(ctx, p)
  local kind = p.to:match("^(%l+):")
  if kind ~= "pair" and kind ~= "activity" then ctx:invalid("to", "must be pair:<id> or activity:<id>") end
  ctx:require(p.to) -- members only: a coordinator does not write into other people's pairs
  local record = store.put("message", {
    data = { to = p.to, from = ctx.person, text = p.text, sent = ctx.now },
    audience = { p.to },
  })
  return { id = record.id, sent = ctx.now }
end

-- Conversations brought along from elsewhere, many at once; each is marked as imported and keeps the time it was written.
local function import(ctx, p)
  for i, m in ipairs(p.messages) do
    if not m.to:find("^pair:.") then ctx:invalid("messages[" .. (i - 1) .. "].to", "must be pair:<id>") end
    store.put("message", { data = { to = m.to, from = m.from, text = m.text, sent = m.sent or ctx.now, imported = true },
      audience = { m.to } })
  end
  return { imported = #p.messages }
end

local message_text = text { required = true, min = 1, max = 4000 }
local to = text { required = true, max = 100 }

return service {
  id = "message",
  title = { en = "Messages", uz = "Xabarlar", ["uz-Cyrl"] = "Хабарлар", ru = "Сообщения" },
  records = {
    message = {
      key = "uuid",
      fields = {
        to = to,
        from = ref "person" { required = true },
        text = message_text,
        sent = time { required = true },
        imported = boolean {},
      },
      indexes = { by_to = { fields = { "to" } } },
    },
  },
  methods = {
    ["message.send"] = {
      summary = "Writes to one's pair or activity",
      access = "signed_in", writes = true, params = { to = to, text = message_text }, run = send,
    },
    ["message.import"] = {
      summary = "Brings conversations along from elsewhere, up to 1,000 messages a call",
      access = { "administrator" }, writes = true,
      params = {
        messages = list { required = true, max = 1000, of = object { fields = {
          to = to, from = ref "person" { required = true }, text = message_text, sent = time {},
        } } },
      },
      run = import,
    },
  },
  tests = {
    ["a member of a pair writes into it, and only they"] = function(t)
      store.put("pair", { id = "p1", data = { mentor = "a", mentee = "b", mentor_name = "A", mentee_name = "B", state = "active" },
        members = { "person:a", "person:b" } })
      local sent = t:call("message.send", { to = "pair:p1", text = "Salom!" }, { person = "a", roles = { "student" } })
      local message = store.get("message", sent.id)
      t:equal(message.data.from, "a")
      t:equal(message.audience, { "pair:p1" })
      t:fails(function() t:call("message.send", { to = "pair:p1", text = "Salom!" }, { person = "c", roles = { "student" } }) end, "pair:p1")
    end,
    ["not even a coordinator writes into a pair of others"] = function(t)
      t:fails(function()
        t:call("message.send", { to = "pair:p1", text = "Salom!" }, { person = "c", roles = { "coordinator" } })
      end, "pair:p1")
    end,
    ["nobody writes to everybody"] = function(t)
      t:fails(function() t:call("message.send", { to = "institution", text = "Salom!" }, { person = "a", roles = { "student" } }) end, "must be pair")
    end,
    ["an empty message is no message"] = function(t)
      t:fails(function() t:call("message.send", { to = "pair:p1", text = "" }, { person = "a", roles = { "student" } }) end, "characters")
    end,
  },
}
