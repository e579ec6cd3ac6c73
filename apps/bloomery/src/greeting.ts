import type { EngineChoice } from './engine-choice.js'
import type { Home } from './home.js'
import type { Sample } from './launcher.js'
import type { Settings } from './settings.js'

/** Where the API answers with no name to resolve. */
export function apiAddress({ BLOOMERY_BIND: bind, BLOOMERY_HTTP_PORT: port }: Settings): string {
  const host = ['127.0.0.1', '0.0.0.0', '::', '::1'].includes(bind) ? 'localhost' : bind.includes(':') ? `[${bind}]` : bind
  return `http://${host}:${port}`
}

/** What the user reads when all is up: the line that checks wait for first, then where to go and what to do. */
export function greeting(settings: Settings, home: Home, engine: EngineChoice, sample: Sample): string {
  const { BLOOMERY_HTTP_PORT: http, BLOOMERY_HTTPS_PORT: https } = settings
  const api = apiAddress(settings)
  const hello = `hello-node.${settings.BLOOMERY_APPS_DOMAIN}`
  return [
    '',
    `Bloomery is ready at ${api}`,
    '',
    `  API        ${api}`,
    `             https://api.${settings.BLOOMERY_SYSTEM_DOMAIN}:${https} (certificate of the platform's own authority)`,
    `  Apps       http://<host>.${settings.BLOOMERY_APPS_DOMAIN}:${http}`,
    ...(sample.pushed ? [`  Sample     http://${hello}:${http}   (no such name? curl -H 'Host: ${hello}' ${api})`] : []),
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
    ...(sample.failure === undefined
      ? []
      : ['', '! The sample app could not be pushed; the next start tries again.', ...marked(sample.failure)]),
    ...(engine.notice === undefined ? [] : ['', ...marked(engine.notice)]),
    '',
    'Ctrl-C stops the platform and its apps; data stays, and the next npm start resumes everything.',
  ].join('\n')
}

const marked = (text: string): string[] => text.split('\n').map((line) => `! ${line}`)
