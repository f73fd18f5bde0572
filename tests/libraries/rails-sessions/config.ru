# Rails' cache sessions over its Redis cache store and redis-rb: see ../README.md for what each path does.
#
# The store's own time-outs are kept: a reply within 1 s, no second try. An error of Redis it takes for a session that is not there.

require "json"
require "action_dispatch"
require "active_support/cache/redis_cache_store"

server = { db: ENV["REDIS_DATABASE"].to_i, pool_size: 4, pool_timeout: 60 }
server[:password] = ENV["REDIS_PASSWORD"] unless ENV["REDIS_PASSWORD"].to_s.empty?
if ENV["REDIS_UNIX"].to_s.empty?
  server.update(host: "127.0.0.1", port: ENV["REDIS_PORT"].to_i)
else
  server[:path] = ENV["REDIS_UNIX"]
end

use ActionDispatch::Cookies
use ActionDispatch::Session::CacheStore,
    key: "_session", cache: ActiveSupport::Cache::RedisCacheStore.new(**server), expire_after: ENV["SESSION_TTL"].to_i

run(lambda do |env|
  request = ActionDispatch::Request.new(env)
  body = env["rack.input"].read.dup.force_encoding(Encoding::UTF_8)
  case env["PATH_INFO"]
  when "/login"
    request.reset_session
    request.session["user"] = body
  when "/update" then request.session["value"] = body
  when "/large" then request.session["large"] = body
  when "/change-id" then request.session_options[:renew] = true
  when "/logout" then request.reset_session
  when "/read", "/touch" then nil # The library saves a session that was looked at.
  end
  held = %w[user value large].to_h { |key| [key, request.session[key]] }
  [200, { "Content-Type" => "application/json" }, [JSON.generate(held)]]
end)
