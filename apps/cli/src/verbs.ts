import type { Flags } from './command-line.js'
import { ROUTE_VERBS } from './route-verbs.js'
import { SERVICE_VERBS } from './service-verbs.js'
import { force } from './shared-flags.js'
import { SPACE_VERBS } from './space-verbs.js'
import { STAGING_VERBS } from './staging-verbs.js'
import { verb, type Verb } from './verb.js'

const strategy = {
  strategy: {
    kind: 'text',
    long: 'strategy',
    value: 'STRATEGY',
    summary: 'rolling or canary: replace instances while others serve',
  },
  maxInFlight: { kind: 'count', long: 'max-in-flight', value: 'N', summary: 'instances replaced at a time, with --strategy' },
} as const satisfies Flags

const size = {
  instances: { kind: 'count', short: 'i', long: 'instances', value: 'N', summary: 'number of instances' },
  memory: { kind: 'text', short: 'm', long: 'memory', value: 'SIZE', summary: 'memory per instance, e.g. 256M or 1G' },
  disk: { kind: 'text', short: 'k', long: 'disk', value: 'SIZE', summary: 'disk per instance, e.g. 512M or 2G' },
  logRateLimit: {
    kind: 'text',
    short: 'l',
    long: 'log-rate-limit',
    value: 'RATE',
    summary: 'log per second, e.g. 16K; -1 is unlimited',
  },
} as const satisfies Flags

const target = {
  org: { kind: 'text', short: 'o', long: 'org', value: 'ORG', summary: 'org to work in' },
  space: { kind: 'text', short: 's', long: 'space', value: 'SPACE', summary: 'space to work in' },
} as const satisfies Flags

/** Every verb but help and version, in the order of the help. */
export const VERBS: readonly Verb[] = [
  verb({
    name: 'login',
    alias: 'l',
    group: 'Getting started',
    summary: 'Log in, and choose org and space',
    flags: {
      api: { kind: 'text', short: 'a', long: 'api', value: 'URL', summary: 'API, e.g. http://localhost:8080' },
      user: { kind: 'text', short: 'u', long: 'user', value: 'USER', summary: 'user; also in BLOOM_USERNAME' },
      password: {
        kind: 'text',
        short: 'p',
        long: 'password',
        value: 'PASSWORD',
        summary: 'password; other users of the machine may see it: better typed, or in BLOOM_PASSWORD',
      },
      ...target,
      clientCredentials: { kind: 'switch', long: 'client-credentials', summary: 'user and password are a client and its secret' },
      skipSslValidation: { kind: 'switch', long: 'skip-ssl-validation', summary: 'trust any certificate of the API' },
    },
    examples: ['bloom login -a http://localhost:8080 -u admin', 'bloom login -o my-org -s dev'],
    run: async (context, _operands, flags) => (await import('./commands/session.js')).login(context, flags),
  }),
  verb({
    name: 'logout',
    alias: 'lo',
    group: 'Getting started',
    summary: 'Forget the login',
    run: async (context) => (await import('./commands/session.js')).logout(context),
  }),
  verb({
    name: 'target',
    alias: 't',
    group: 'Getting started',
    summary: 'Show or choose the org and space to work in',
    flags: target,
    examples: ['bloom target', 'bloom target -o my-org -s dev'],
    run: async (context, _operands, flags) => (await import('./commands/session.js')).target(context, flags),
  }),
  verb({
    name: 'push',
    alias: 'p',
    group: 'Apps',
    summary: 'Push an app, or those of a manifest: upload, stage, start',
    operands: ['[APP_NAME]'],
    flags: {
      manifest: {
        kind: 'text',
        short: 'f',
        long: 'manifest',
        value: 'FILE',
        summary: "manifest; default is manifest.yml of this folder, if it's there",
      },
      noManifest: { kind: 'switch', long: 'no-manifest', summary: 'ignore manifest.yml' },
      var: { kind: 'texts', long: 'var', value: 'NAME=VALUE', summary: 'value for ((NAME)) in the manifest; may repeat' },
      varsFile: {
        kind: 'texts',
        long: 'vars-file',
        value: 'FILE',
        summary: 'YAML file of such values; may repeat, later ones win',
      },
      path: {
        kind: 'text',
        short: 'p',
        long: 'path',
        value: 'PATH',
        summary: 'folder or archive of the app; default is this folder',
      },
      buildpack: {
        kind: 'texts',
        short: 'b',
        long: 'buildpack',
        value: 'BUILDPACK',
        summary: 'buildpack by name or Git address; may repeat; default to detect again',
      },
      command: {
        kind: 'text',
        short: 'c',
        long: 'start-command',
        value: 'COMMAND',
        summary: 'start command; null for the default one',
      },
      ...size,
      healthCheckType: { kind: 'text', short: 'u', long: 'health-check-type', value: 'TYPE', summary: 'port, http or process' },
      endpoint: { kind: 'text', long: 'endpoint', value: 'PATH', summary: 'path that an http health check asks for' },
      appStartTimeout: {
        kind: 'count',
        short: 't',
        long: 'app-start-timeout',
        value: 'SECONDS',
        summary: 'time for an instance to become healthy',
      },
      stack: { kind: 'text', short: 's', long: 'stack', value: 'STACK', summary: 'file system to run on, e.g. cflinuxfs4' },
      noStart: { kind: 'switch', long: 'no-start', summary: 'upload only; neither stage nor start' },
      noRoute: { kind: 'switch', long: 'no-route', summary: 'map no route, and unmap those that are' },
      randomRoute: { kind: 'switch', long: 'random-route', summary: 'map a route with a random host' },
      ...strategy,
    },
    examples: [
      'bloom push my-app -p ./build -m 256M',
      'bloom push -f manifest.yml --var host=blue --vars-file secrets.yml',
      'bloom push my-app --strategy rolling',
    ],
    run: async (context, [name], flags) => (await import('./commands/push.js')).pushCommand(context, name, flags),
  }),
  verb({
    name: 'apps',
    alias: 'a',
    group: 'Apps',
    summary: 'List the apps of the space',
    run: async (context) => (await import('./commands/apps.js')).listApps(context),
  }),
  verb({
    name: 'app',
    group: 'Apps',
    summary: 'Show an app and its instances',
    operands: ['APP_NAME'],
    flags: { guid: { kind: 'switch', long: 'guid', summary: 'print its guid alone' } },
    run: async (context, [name], flags) => (await import('./commands/apps.js')).showAppCommand(context, name, flags),
  }),
  verb({
    name: 'logs',
    group: 'Apps',
    summary: "Follow an app's log until Ctrl-C",
    operands: ['APP_NAME'],
    flags: { recent: { kind: 'switch', long: 'recent', summary: 'print the newest lines and end' } },
    endless: true,
    run: async (context, [name], flags) => (await import('./commands/logs.js')).logs(context, name, flags),
  }),
  verb({
    name: 'scale',
    group: 'Apps',
    summary: 'Change or show the number and size of instances',
    operands: ['APP_NAME'],
    flags: {
      ...size,
      process: { kind: 'text', long: 'process', value: 'TYPE', summary: 'process to scale; default web' },
      force: { kind: 'switch', short: 'f', long: 'force', summary: 'restart without asking' },
    },
    examples: ['bloom scale my-app -i 4', 'bloom scale my-app -m 512M -f'],
    run: async (context, [name], flags) => (await import('./commands/scale.js')).scaleApp(context, name, flags),
  }),
  verb({
    name: 'start',
    alias: 'st',
    group: 'Apps',
    summary: 'Start an app',
    operands: ['APP_NAME'],
    run: async (context, [name]) => (await import('./commands/start.js')).startApp(context, name),
  }),
  verb({
    name: 'stop',
    alias: 'sp',
    group: 'Apps',
    summary: 'Stop an app',
    operands: ['APP_NAME'],
    run: async (context, [name]) => (await import('./commands/start.js')).stopApp(context, name),
  }),
  verb({
    name: 'restart',
    alias: 'rs',
    group: 'Apps',
    summary: 'Stop and start an app, or replace its instances',
    operands: ['APP_NAME'],
    flags: strategy,
    run: async (context, [name], flags) => (await import('./commands/start.js')).restartApp(context, name, flags),
  }),
  verb({
    name: 'restage',
    alias: 'rg',
    group: 'Apps',
    summary: "Stage an app's newest package again, and restart it with the result",
    operands: ['APP_NAME'],
    flags: strategy,
    run: async (context, [name], flags) => (await import('./commands/start.js')).restageApp(context, name, flags),
  }),
  verb({
    name: 'events',
    group: 'Apps',
    summary: 'Show what happened to an app lately',
    operands: ['APP_NAME'],
    run: async (context, [name]) => (await import('./commands/events.js')).listEvents(context, name),
  }),
  verb({
    name: 'delete',
    alias: 'd',
    group: 'Apps',
    summary: 'Delete an app',
    operands: ['APP_NAME'],
    flags: {
      ...force,
      routes: { kind: 'switch', short: 'r', summary: 'delete its routes too' },
    },
    run: async (context, [name], flags) => (await import('./commands/delete.js')).deleteApp(context, name, flags),
  }),
  verb({
    name: 'env',
    alias: 'e',
    group: 'Environment',
    summary: "Show an app's environment variables",
    operands: ['APP_NAME'],
    run: async (context, [name]) => (await import('./commands/environment.js')).showEnvironment(context, name),
  }),
  verb({
    name: 'set-env',
    alias: 'se',
    group: 'Environment',
    summary: 'Set an environment variable, for instances started from now on',
    operands: ['APP_NAME', 'VARIABLE', 'VALUE'],
    run: async (context, [name, variable, value]) =>
      (await import('./commands/environment.js')).setVariable(context, name, variable, value),
  }),
  verb({
    name: 'unset-env',
    alias: 'ue',
    group: 'Environment',
    summary: 'Remove an environment variable, for instances started from now on',
    operands: ['APP_NAME', 'VARIABLE'],
    run: async (context, [name, variable]) => (await import('./commands/environment.js')).unsetVariable(context, name, variable),
  }),
  ...ROUTE_VERBS,
  ...SPACE_VERBS,
  ...SERVICE_VERBS,
  ...STAGING_VERBS,
  verb({
    name: 'curl',
    group: 'Advanced',
    summary: 'Send a request to the API with your token',
    operands: ['PATH'],
    flags: {
      request: { kind: 'text', short: 'X', long: 'request', value: 'METHOD', summary: 'method; default GET, or POST with -d' },
      data: { kind: 'text', short: 'd', long: 'data', value: 'DATA', summary: 'body, or @FILE' },
      header: { kind: 'texts', short: 'H', long: 'header', value: "'NAME: VALUE'", summary: 'header; may repeat' },
      include: { kind: 'switch', short: 'i', long: 'include', summary: "print the answer's headers" },
      fail: { kind: 'switch', short: 'f', long: 'fail', summary: 'exit with 22 when the server refuses' },
      output: { kind: 'text', long: 'output', value: 'FILE', summary: 'write the body to a file' },
    },
    examples: ['bloom curl /v3/apps', `bloom curl -X PATCH /v3/apps/GUID -d '{"name":"new-name"}'`],
    run: async (context, [path], flags) => (await import('./commands/curl.js')).curl(context, path, flags),
  }),
]

export const findVerb = (name: string): Verb | undefined => VERBS.find((each) => each.name === name || each.alias === name)
/** Every word that may stand first. */
export const verbNames = (): string[] => [...VERBS.map(({ name }) => name), 'help', 'version']
