import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import type { Settings } from './settings.js'

/** True if the program is on the path (or where administrators' programs lie). */
export const hasProgram = (name: string): boolean =>
  [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/local/sbin'].some(
    (folder) => folder !== '' && existsSync(join(folder, name)),
  )

/** The exact command that installs Debian packages here, with sudo where the user is not root. */
export const installCommand = (packages: readonly string[]): string =>
  `${process.getuid?.() === 0 ? '' : 'sudo '}apt-get install -y --no-install-recommends ${packages.join(' ')}`

/** How this user may run apt-get; undefined where it may not, or there is none. */
function apt(interactive: boolean): readonly string[] | undefined {
  if (!hasProgram('apt-get')) return undefined
  if (process.getuid?.() === 0) return ['apt-get']
  if (!hasProgram('sudo')) return undefined
  const quiet = spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0
  return quiet ? ['sudo', '-n', 'apt-get'] : interactive ? ['sudo', 'apt-get'] : undefined
}

/**
 * Installs Debian packages where the user may and wants to: on a terminal it asks first; elsewhere it does so as root or with
 * BLOOMERY_INSTALL=yes. False: it did not, and the caller goes on without or names the command.
 */
export async function installPackages(
  packages: readonly string[],
  purpose: string,
  settings: Settings,
  say: (line: string) => void,
): Promise<boolean> {
  const choice = settings.BLOOMERY_INSTALL
  const command = apt(settings.interactive)
  if (command === undefined || choice === 'no') return false
  if (choice === 'ask') {
    if (settings.interactive) {
      if (
        !(await confirm(
          `${purpose} ${packages.join(', ')} ${packages.length > 1 ? 'are' : 'is'} missing. Install now (${installCommand(packages)})?`,
        ))
      )
        return false
    } else if (process.getuid?.() !== 0) return false
  }
  say(`Installing ${packages.join(', ')}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const [program = 'apt-get', ...rest] = command
  const install = [...rest, 'install', '-y', '--no-install-recommends', ...packages]
  if (await runQuietly(program, install, env)) return true
  // The lists may be old or not there at all, as in a bare image.
  say('Reading the package lists')
  return (await runQuietly(program, [...rest, 'update'], env)) && runQuietly(program, install, env)
}

function runQuietly(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(program, [...args], { env, stdio: ['inherit', 'ignore', 'ignore'] })
    child.once('error', () => resolve(false))
    child.once('exit', (code) => resolve(code === 0))
  })
}

async function confirm(question: string): Promise<boolean> {
  const prompt = createInterface({ input: process.stdin, output: process.stdout })
  try {
    return /^y(es)?$/i.test((await prompt.question(`${question} [y/N] `)).trim())
  } finally {
    prompt.close()
  }
}
