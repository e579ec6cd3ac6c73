import { Command, InvalidArgumentError } from 'commander'
import * as apps from './commands/apps.js'
import { curl, type CurlFlags } from './commands/curl.js'
import { logs } from './commands/logs.js'
import { pushCommand, type PushFlags } from './commands/push.js'
import * as routes from './commands/routes.js'
import * as session from './commands/session.js'
import type { Context } from './context.js'

interface Running {
  readonly open: () => Promise<Context>
  /** Ends what follows without end, at Ctrl-C. */
  readonly signal: AbortSignal
  setExitCode(code: number): void
}

const number = (text: string): number => {
  if (/^\d+$/.test(text)) return Number(text)
  throw new InvalidArgumentError('It must be a whole number.')
}
const collect = (text: string, before: readonly string[] = []): readonly string[] => [...before, text]

/** cf's verbs. */
export function buildProgram(running: Running): Command {
  const program = new Command('bloom').description('Push, run and look after apps. Verbs and flags are those of cf.')
  const run = async (command: (context: Context) => Promise<void>): Promise<void> => {
    const context = await running.open()
    try {
      await command(context)
    } finally {
      await context.close()
    }
  }
  addSession(program, run)
  addPush(program, run)
  addApps(program, run, running)
  addRoutes(program, run)
  program
    .command('curl <path>')
    .description('send a request to the API with your token')
    .option('-X, --request <method>', 'HTTP method; default GET, or POST with -d')
    .option('-d, --data <data>', 'body, or @file')
    .option('-H, --header <header>', "header, 'Name: value'; may repeat", collect)
    .option('-i, --include', 'show the answer’s headers')
    .option('-f, --fail', 'exit with 22 when the server refuses')
    .option('--output <file>', 'write the body to a file')
    .action((path: string, flags: CurlFlags) => run(async (context) => running.setExitCode(await curl(context, path, flags))))
  return program
}

type Run = (command: (context: Context) => Promise<void>) => Promise<void>

function addSession(program: Command, run: Run): void {
  program
    .command('login')
    .description('log in, and choose org and space')
    .option('-a, --api <url>', 'API endpoint, e.g. http://localhost:8080')
    .option('-u, --user <name>')
    .option('-p, --password <password>')
    .option('-o, --org <name>')
    .option('-s, --space <name>')
    .option('--client-credentials', 'user and password are a client and its secret')
    .option('--skip-ssl-validation', 'trust any certificate')
    .action((flags: session.LoginOptions) => run((context) => session.login(context, flags)))
  program
    .command('logout')
    .description('forget the login')
    .action(() => run((context) => session.logout(context)))
  program
    .command('target')
    .description('show or choose org and space')
    .option('-o, --org <name>')
    .option('-s, --space <name>')
    .action((flags: { org?: string; space?: string }) => run((context) => session.target(context, flags)))
}

function addPush(program: Command, run: Run): void {
  program
    .command('push [name]')
    .description('push apps: upload, stage, start')
    .option('-f, --manifest-file <path>', 'manifest; default manifest.yml of this folder')
    .option('--no-manifest', 'ignore manifest.yml')
    .option('-p, --path <path>', 'folder or archive of the source')
    .option('-b, --buildpack <buildpack>', 'buildpack by name or address; may repeat', collect)
    .option('-c, --command <command>', 'start command; null for the default')
    .option('-i, --instances <count>', 'number of instances', number)
    .option('-m, --memory <size>', 'memory per instance, e.g. 256M')
    .option('-k, --disk <size>', 'disk per instance, e.g. 1G')
    .option('-l, --log-rate-limit <rate>', 'log rate per instance and second, e.g. 16K, or -1')
    .option('-u, --health-check-type <type>', 'port, http or process')
    .option('--endpoint <path>', 'path of an http health check')
    .option('-t, --app-start-timeout <seconds>', 'time for an instance to become healthy', number)
    .option('-s, --stack <name>')
    .option('--no-start', 'do not stage or start')
    .option('--no-route', 'remove or make no route')
    .option('--random-route', 'make a route with a random host')
    .option('--var <name=value>', 'value for ((name)) in the manifest; may repeat', collect)
    .option('--vars-file <path>', 'file of such values; may repeat', collect)
    .option('--strategy <strategy>', 'rolling or canary')
    .option('--max-in-flight <count>', 'instances replaced at a time', number)
    .action((name: string | undefined, flags: PushFlags) => run((context) => pushCommand(context, name, flags)))
}

function addApps(program: Command, run: Run, { signal }: Running): void {
  program
    .command('apps')
    .description('list the apps of the space')
    .action(() => run(apps.listApps))
  program
    .command('app <name>')
    .description('show an app and its instances')
    .option('--guid', 'print its guid alone')
    .action((name: string, flags: { guid?: boolean }) => run((context) => apps.showAppCommand(context, name, flags)))
  program
    .command('logs <name>')
    .description('follow an app’s log')
    .option('--recent', 'print the newest lines instead')
    .action((name: string, flags: { recent?: boolean }) => run((context) => logs(context, name, flags, signal)))
  program
    .command('scale <name>')
    .description('change or show instances, memory and disk')
    .option('-i, --instances <count>', '', number)
    .option('-m, --memory <size>')
    .option('-k, --disk <size>')
    .option('--process <type>', '', 'web')
    .option('-f, --force', 'restart without asking')
    .action((name: string, flags: apps.ScaleFlags) => run((context) => apps.scaleApp(context, name, flags)))
  const simple = [
    ['start', 'start an app', apps.startApp],
    ['stop', 'stop an app', apps.stopApp],
    ['env', 'show an app’s environment', apps.showEnvironment],
    ['events', 'show an app’s recent events', apps.listEvents],
  ] as const
  for (const [verb, description, command] of simple) {
    program
      .command(`${verb} <name>`)
      .description(description)
      .action((name: string) => run((context) => command(context, name)))
  }
  program
    .command('restart <name>')
    .description('stop and start an app, or replace its instances')
    .option('--strategy <strategy>', 'rolling or canary')
    .action((name: string, flags: { strategy?: string }) => run((context) => apps.restartApp(context, name, flags)))
  program
    .command('set-env <name> <variable> <value>')
    .description('set an environment variable')
    .action((name: string, variable: string, value: string) =>
      run((context) => apps.setEnvironment(context, name, variable, value)),
    )
  program
    .command('unset-env <name> <variable>')
    .description('remove an environment variable')
    .action((name: string, variable: string) => run((context) => apps.setEnvironment(context, name, variable, null)))
  program
    .command('delete <name>')
    .description('delete an app')
    .option('-f, --force', 'without asking')
    .option('-r, --routes', 'its routes too')
    .action((name: string, flags: { force?: boolean; routes?: boolean }) =>
      run((context) => apps.deleteApp(context, name, flags)),
    )
}

function addRoutes(program: Command, run: Run): void {
  program
    .command('routes')
    .description('list the routes of the space')
    .action(() => run(routes.listRoutes))
  for (const [verb, description, command] of [
    ['map-route', 'lead a route to an app; makes the route if need be', routes.mapRoute],
    ['unmap-route', 'lead a route to an app no more', routes.unmapRoute],
  ] as const) {
    program
      .command(`${verb} <name> <domain>`)
      .description(description)
      .option('-n, --hostname <host>')
      .option('--path <path>')
      .option('--port <port>', '', number)
      .action((name: string, domain: string, flags: routes.RouteFlags) => run((context) => command(context, name, domain, flags)))
  }
}
