import { execFileSync } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describeWithDocker } from '@bloomery/testing'
import { withStaging } from './staging-under-test.fixture.js'
import { IMAGE } from './testing.fixture.js'

/** Rails' own way to lay an app out, with as little in it as shows its parts: pages, assets, tasks. */
const RAILS: Readonly<Record<string, string>> = {
  Rakefile: 'require_relative "config/application"\nRails.application.load_tasks\n',
  'config.ru': 'require_relative "config/environment"\nrun Rails.application\n',
  'bin/rails':
    '#!/usr/bin/env ruby\nAPP_PATH = File.expand_path("../config/application", __dir__)\nrequire_relative "../config/boot"\nrequire "rails/commands"\n',
  'config/boot.rb': 'ENV["BUNDLE_GEMFILE"] ||= File.expand_path("../Gemfile", __dir__)\nrequire "bundler/setup"\n',
  'config/environment.rb': 'require_relative "application"\nRails.application.initialize!\n',
  'config/application.rb': [
    'require_relative "boot"',
    'require "action_controller/railtie"',
    'require "sprockets/railtie"',
    'require "answer"',
    'class Shop < Rails::Application',
    '  config.load_defaults 6.1',
    '  config.eager_load = true',
    '  config.public_file_server.enabled = ENV["RAILS_SERVE_STATIC_FILES"].present?',
    '  config.logger = ActiveSupport::Logger.new($stdout) if ENV["RAILS_LOG_TO_STDOUT"].present?',
    '  config.assets.compile = false',
    'end',
  ].join('\n'),
  'config/routes.rb': 'Rails.application.routes.draw { root "pages#show" }\n',
  'app/controllers/pages_controller.rb':
    'class PagesController < ActionController::Base\n  def show = render(inline: "rails <%= Rails.env %> <%= asset_path(%q(application.css)) %> <%= Answer.is %>")\nend\n',
  'app/assets/config/manifest.js': '//= link application.css\n',
  'app/assets/stylesheets/application.css': 'body { color: red }\n',
  // A gem in C, which is compiled when it is installed.
  'answer/answer.gemspec':
    'Gem::Specification.new { |s| s.name = "answer"; s.version = "1.0.0"; s.summary = "x"; s.authors = ["x"]; s.files = Dir["ext/**/*"]; s.extensions = ["ext/answer/extconf.rb"] }\n',
  'answer/ext/answer/extconf.rb': 'require "mkmf"\ncreate_makefile("answer")\n',
  'answer/ext/answer/answer.c':
    '#include <ruby.h>\nstatic VALUE is(VALUE self) { return INT2NUM(42); }\nvoid Init_answer(void) { rb_define_singleton_method(rb_define_module("Answer"), "is", is, 0); }\n',
}
/** The index of gems may be out of reach; Debian's packages of them are those of the stack. */
const MAKE = `set -e
apt-get -qq update
apt-get -qq -y --no-install-recommends install ruby-railties ruby-sprockets-rails puma >/dev/null 2>&1
ruby pack.rb railties sprockets-rails puma >/dev/null
(cd answer && gem build -q answer.gemspec -o ../vendor/cache/answer-1.0.0.gem && gem install -q --local ../vendor/cache/answer-1.0.0.gem) >/dev/null
echo 'gem "answer"' >> Gemfile
bundle lock --local >/dev/null
rm -rf answer pack.rb`

// Long, and needs packages: with the longer suites only.
const suite = process.env['BLOOMERY_TEST_FULL'] === '1' ? await describeWithDocker() : describe.skip
suite('the ways of Ruby', () => {
  const staging = withStaging(['ruby_buildpack'])

  it('Rails: gems of vendor/cache, one of them compiled; assets precompiled; its server, its secret, its log', async () => {
    const folder = await mkdtemp(join(staging.work, 'rails-'))
    for (const [name, body] of Object.entries(RAILS)) {
      await mkdir(dirname(join(folder, name)), { recursive: true })
      await writeFile(join(folder, name), body, { mode: name === 'bin/rails' ? 0o755 : 0o644 })
    }
    await cp(join(import.meta.dirname, 'debian-gems.fixture.rb'), join(folder, 'pack.rb'))
    execFileSync('docker', ['run', '--rm', '-v', `${folder}:/w`, '-w', '/w', IMAGE, 'bash', '-c', MAKE])
    expect((await readdir(join(folder, 'vendor/cache'))).length).toBeGreaterThan(20)

    const { text, log, droplet } = await staging.answer(
      { files: folder },
      'curl -s localhost:$PORT/; echo; curl -s localhost:$PORT$(curl -s localhost:$PORT/ | grep -o "/assets/application-[0-9a-f]*.css"); echo "secret ${#SECRET_KEY_BASE}"',
    )
    expect(log).toMatch(/ruby in the Gemfile: >=3\.1\.0 <4\.0\.0[\s\S]*bundle install --local[\s\S]*Precompiling assets/)
    expect(droplet.process_types).toMatchObject({
      web: 'bin/rails server -b 0.0.0.0 -p $PORT -e $RAILS_ENV',
      worker: 'bundle exec rake jobs:work',
      rake: 'bundle exec rake',
      console: 'bin/rails console',
    })
    expect(text).toMatch(/^rails production \/assets\/application-[0-9a-f]{64}\.css 42\nbody \{ color: red \}/)
    expect(text).toMatch(/^secret 128$/m)
    // Its log comes out with the program's output.
    expect(text).toMatch(/Completed 200 OK/)
  }, 600_000)
})
