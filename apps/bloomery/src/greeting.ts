import type { EngineChoice } from './engine-choice.js'
import type { Home } from './home.js'
import type { Settings } from './settings.js'

/** What the user reads when all is up: the line that checks wait for first, then where to go and what to do. */
export function greeting(settings: Settings, home: Home, engine: EngineChoice, sample: boolean): string {
  const { BLOOMERY_HTTP_PORT: http, BLOOMERY_HTTPS_PORT: https } = settings
  const local = settings.BLOOMERY_BIND === '127.0.0.1' || settings.BLOOMERY_BIND === '0.0.0.0'
  const api = `http://${local ? 'localhost' : settings.BLOOMERY_BIND}:${http}`
  const hello = `hello-node.${settings.BLOOMERY_APPS_DOMAIN}`
  return [
    '',
    `Bloomery is ready at ${api}`,
    '',
    `  API        ${api}`,
    `             https://api.${settings.BLOOMERY_SYSTEM_DOMAIN}:${https} (certificate of the platform's own authority)`,
    `  Apps       http://<host>.${settings.BLOOMERY_APPS_DOMAIN}:${http}`,
    ...(sample ? [`  Sample     http://${hello}:${http}   (no such name? curl -H 'Host: ${hello}' ${api})`] : []),
    `  User       admin`,
    `  Password   ${home.adminPassword}   (kept in ${settings.paths.adminPassword})`,
    `  Engine     ${engine.kind}`,
    `  Data, logs ${settings.paths.home}, ${settings.paths.roleLogs}`,
    '',
    'Next, with the cf client (https://github.com/cloudfoundry/cli/releases, v8 or newer):',
    `  cf api ${api}`,
    `  cf login -u admin -p "$(cat ${settings.paths.adminPassword})" -o bloomery -s dev`,
    '  cf push my-app -p path/to/your/source',
    '  cf logs my-app --recent',
    '',
    'Or with the client that comes along:',
    `  npx bloom login -a ${api} -u admin -p "$(cat ${settings.paths.adminPassword})"`,
    '  npx bloom push my-app -p path/to/your/source',
    ...(engine.notice === undefined ? [] : ['', ...engine.notice.split('\n').map((line) => `! ${line}`)]),
    '',
    'Ctrl-C stops the platform and its apps; data stays, and the next npm start resumes everything.',
  ].join('\n')
}
