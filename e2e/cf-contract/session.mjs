// A session with the real client: each command stands on what the ones before it left.
import { run } from './commands.mjs'
import { ROUTING } from './session-routing.mjs'
import { SERVICES, SERVICES_END, SERVICES_FILES } from './session-services.mjs'
import { STAGING, STAGING_FILES } from './session-staging.mjs'

const SERVER = `require('node:http')
  .createServer((request, response) => response.end('recorded'))
  .listen(process.env.DEAF ? '/tmp/nobody-asks-here' : process.env.PORT)
console.log('recorded app starts')
`
/** An archive of such an app, made beforehand. */
const ARCHIVE =
  'UEsDBBQAAAAIAAAAIVC17/ewTgAAAFkAAAAMAAAAcGFja2FnZS5qc29uDcsxCsAgEETRq4SpRUzrbSRuYSAaZjc24t2z7ef9hV4eQQblGqxSETCF2kb3eMYUk5eXbRZzZvwkQC+21xR5Qa3QXPZR5VChv/FW7P0DUEsDBBQAAAAIAAAAIVDYL/5jVAAAAFYAAAAJAAAAc2VydmVyLmpzFcnLCYAwEAXAu1Xkll2QFCBoC4ragCQPDEg+u9GD1YtzHUG9o4BsygHD2Vqx7LzgaNggD4So9kbZjJNRhxTIvrEUBMvsrqgNiYpkD/33ccu87tx9UEsBAhQDFAAAAAgAAAAhULXv97BOAAAAWQAAAAwAAAAAAAAAAAAAAKSBAAAAAHBhY2thZ2UuanNvblBLAQIUAxQAAAAIAAAAIVDYL/5jVAAAAFYAAAAJAAAAAAAAAAAAAACkgXgAAABzZXJ2ZXIuanNQSwUGAAAAAAIAAgBxAAAA8wAAAAAA'

export const FILES = {
  'app/package.json': JSON.stringify({ name: 'recorded', version: '1.0.0', private: true, scripts: { start: 'node server.js' } }),
  'app/server.js': SERVER,
  'app/public/empty.txt': '',
  'app.zip': Buffer.from(ARCHIVE, 'base64'),
  'two.yml': `applications:
- name: listed
  path: app
  memory: 64M
  instances: 1
  env:
    GREETING: ((greeting))
  routes:
  - route: listed.apps.localhost
- name: worker
  path: app
  memory: ((sizes.worker))
  no-route: true
  health-check-type: process
`,
  'values.yml': 'sizes:\n  worker: 64M\n',
  ...SERVICES_FILES,
  ...STAGING_FILES,
}

export const SESSION = [
  run('api {{api}}'),
  run('login -u admin -p {{password}} -o bloomery -s dev'),
  run('auth admin wrong-password', 1),
  run('auth admin {{password}}'),
  run('create-org acme'),
  run('create-org acme'),
  run('orgs'),
  run('target -o acme'),
  run('create-space work'),
  run('create-space work'),
  run('target -o acme -s work'),
  run('spaces'),
  run('org acme'),
  run('space work'),
  run('create-user ada secret-1'),
  run('create-user ada secret-1'),
  run('set-org-role ada acme OrgManager'),
  run('set-space-role ada acme work SpaceDeveloper'),
  run('org-users acme'),
  run('space-users acme work'),
  run('unset-space-role ada acme work SpaceDeveloper'),
  run('unset-org-role ada acme OrgManager'),
  run('create-org-quota small -m 2G -r 10 -s 5 -a 20'),
  run('update-org-quota small -m 4G'),
  run('set-org-quota acme small'),
  run('org-quotas'),
  run('org-quota small'),
  run('create-shared-domain shared.example.test'),
  run('create-private-domain acme private.example.test'),
  run('domains'),
  run('create-route shared.example.test --hostname one'),
  run('create-route shared.example.test --hostname one'),
  run('check-route shared.example.test --hostname one'),
  run('routes'),
  run('push recorded -p app -m 64M --no-start'),
  run('app recorded'),
  run('push recorded -p app -m 64M'),
  run('push recorded -p app -m 64M --strategy rolling'),
  run([
    'push',
    'flagged',
    '-p',
    'app.zip',
    '-m',
    '64M',
    '-k',
    '256M',
    '-i',
    '1',
    '-l',
    '16K',
    '-t',
    '60',
    '-u',
    'http',
    '--endpoint',
    '/',
    '-c',
    'node server.js',
    '-b',
    'nodejs_buildpack',
    '-s',
    'cflinuxfs4',
    '--random-route',
  ]),
  run('push flagged -p app -b null -c null --no-route'),
  run('push several -p app -b staticfile_buildpack -b nodejs_buildpack -m 64M --no-manifest --no-start'),
  run('push -f two.yml --vars-file values.yml --var greeting=hello'),
  run('push -f two.yml --var greeting=hello', 1),
  run('push nowhere -p app -b no_such_buildpack', 1),
  run('push gone -p no-such-folder', 1),
  run('apps'),
  run('app recorded'),
  run('app nowhere-at-all', 1),
  run('scale recorded -i 2'),
  run('scale recorded -m 96M -k 512M -f'),
  run('scale recorded'),
  run('env recorded'),
  run('set-env recorded NAME value'),
  run('env recorded'),
  run('unset-env recorded NAME'),
  run('map-route recorded shared.example.test --hostname one'),
  run('route shared.example.test --hostname one'),
  run('unmap-route recorded shared.example.test --hostname one'),
  run('delete-route shared.example.test --hostname one -f'),
  run('create-route shared.example.test --hostname orphan'),
  run('delete-orphaned-routes -f'),
  run('restart recorded'),
  run('restart recorded --strategy rolling'),
  run('restage recorded'),
  run('restage recorded --strategy rolling'),
  run('restart-app-instance recorded 1'),
  run('get-health-check recorded'),
  run('set-health-check recorded http --endpoint /'),
  run('set-env recorded DEAF yes'),
  run('restart recorded --strategy rolling', { until: 'GET /v3/deployments/' }),
  run('cancel-deployment recorded'),
  run('unset-env recorded DEAF'),
  run('cancel-deployment listed', 1),
  run('events recorded'),
  run('logs recorded --recent'),
  run('logs recorded', { until: 'GET /api/v1/read/{{any}}?envelope_types=LOG' }),
  run('create-app-manifest recorded -p written.yml'),
  run('apply-manifest -f written.yml'),
  run(['create-user-provided-service', 'drain', '-p', '{"uri":"http://example.test"}']),
  run('bind-service recorded drain'),
  run('services'),
  run('service drain'),
  run('env recorded'),
  run('unbind-service recorded drain'),
  run('delete-service drain -f'),
  run('buildpacks'),
  run('stacks'),
  run('stack cflinuxfs4'),

  run('update-org-quota small -s 60 -r 60 --reserved-route-ports 10 --allow-paid-service-plans'),
  run('create-space side -o acme'),
  run('create-org partner'),
  run('create-space other -o partner'),
  ...SERVICES,
  ...ROUTING,
  ...STAGING,
  ...SERVICES_END,
  run('delete-org partner -f'),

  run('rename recorded renamed'),
  run('rename listed renamed', 1),
  run('stop renamed'),
  run('start renamed'),
  run('curl /v3/apps'),
  run('curl /v3/apps/no-such-app -f', 22),
  run('delete renamed -f -r'),
  run('delete listed -f -r'),
  run('delete worker -f'),
  run('delete flagged -f -r'),
  run('delete several -f -r'),
  run('delete no-such-app -f'),
  run('delete-shared-domain shared.example.test -f'),
  run('delete-private-domain private.example.test -f'),
  run('delete-space work -f'),
  run('delete-org acme -f'),
  run('delete-org-quota small -f'),
  run('delete-user ada -f'),
  run('logout'),
]
