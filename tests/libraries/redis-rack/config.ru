# redis-rack over redis-rb: see ../README.md for what each path does.

require "json"
require "rack"
require "redis-rack"

# The library's own way to name a server, with the key prefix that its default has.
server = { db: ENV["REDIS_DATABASE"].to_i, namespace: "rack:session" }
server[:password] = ENV["REDIS_PASSWORD"] unless ENV["REDIS_PASSWORD"].to_s.empty?
if ENV["REDIS_UNIX"].to_s.empty?
  server.update(host: "127.0.0.1", port: ENV["REDIS_PORT"].to_i)
else
  server[:path] = ENV["REDIS_UNIX"]
end

use Rack::Session::Redis, redis_server: server, expire_after: ENV["SESSION_TTL"].to_i

run(lambda do |env|
  session = env["rack.session"]
  body = env["rack.input"].read.dup.force_encoding(Encoding::UTF_8)
  case env["PATH_INFO"]
  when "/login"
    session["user"] = body
    session.options[:renew] = true
  when "/update" then session["value"] = body
  when "/large" then session["large"] = body
  when "/change-id" then session.options[:renew] = true
  when "/logout" then session.destroy
  when "/read", "/touch" then nil # The library saves at the end of each request.
  end
  held = %w[user value large].to_h { |key| [key, session[key]] }
  [200, { "Content-Type" => "application/json" }, [JSON.generate(held)]]
end)
