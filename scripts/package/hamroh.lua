-- Settings of the packaged server. `hamroh check-config --defaults` prints every setting with its default and what
-- it means; `hamroh check-config /etc/hamroh/hamroh.lua` names what is wrong in this file. After a change:
-- `systemctl reload hamroh`; the log says what needs a restart.
return {
  -- listen = "127.0.0.1:8080",
  -- workers_max = 2,
  -- log_level = "info",
  -- smtp_url = "smtp://mail.example.uz:587", -- e-mail: see README.md
  -- metrics_token = "…", -- for a Prometheus on another machine
}
