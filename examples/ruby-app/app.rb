require 'sinatra/base'

# A small Sinatra app; its gems lie in vendor/cache.
class App < Sinatra::Base
  get '/' do
    content_type :text
    "Hello from ruby-app, instance #{ENV.fetch('CF_INSTANCE_INDEX', 0)}, Ruby #{RUBY_VERSION}, Sinatra #{Sinatra::VERSION}\n"
  end
end
