import type { Flag } from './command-line.js'
import type { Verb } from './verb.js'
import { VERBS } from './verbs.js'

/** What bloom is and all its verbs. */
export function generalHelp(): string {
  const groups = [...new Set(VERBS.map(({ group }) => group))]
  const width = Math.max(...VERBS.map(({ name }) => name.length))
  return [
    'bloom: push, run and look after apps. Its verbs and flags are those of cf.',
    '',
    'Usage: bloom VERB [ARGUMENTS] [FLAGS]',
    ...groups.flatMap((group) => [
      '',
      `${group}:`,
      ...VERBS.filter((each) => each.group === group).map(({ name, summary }) => `   ${name.padEnd(width)}   ${summary}`),
    ]),
    '',
    'bloom help VERB tells what a verb takes; bloom version tells which bloom this is.',
    '',
    'Environment:',
    '   BLOOM_HOME              folder that holds .bloom/config.json, the login; default is your home',
    '   BLOOM_STAGING_TIMEOUT   minutes that staging may take; default 15',
    '   BLOOM_STARTUP_TIMEOUT   minutes that instances may take to start; default 5',
    '   BLOOM_TRACE             true shows where an unexpected failure came from',
    '   NO_COLOR                any value switches colours off',
    '',
  ].join('\n')
}

export function verbHelp({ name, alias, summary, operands, flags, examples }: Verb): string {
  const rows = Object.values(flags).map((flag) => [flagHead(flag), flag.summary] as const)
  const width = Math.max(0, ...rows.map(([head]) => head.length))
  return [
    `bloom ${name}: ${summary}`,
    '',
    `Usage: ${['bloom', name, ...operands, ...(rows.length > 0 ? ['[FLAGS]'] : [])].join(' ')}`,
    ...(alias === undefined ? [] : [`Short: bloom ${alias}`]),
    ...(rows.length > 0 ? ['', 'Flags:', ...rows.map(([head, text]) => `   ${head.padEnd(width)}   ${text}`)] : []),
    ...(examples.length > 0 ? ['', 'Examples:', ...examples.map((line) => `   ${line}`)] : []),
    '',
  ].join('\n')
}

function flagHead({ short, long, value }: Flag): string {
  const names = [...(short === undefined ? [] : [`-${short}`]), ...(long === undefined ? [] : [`--${long}`])].join(', ')
  return `${short === undefined ? '    ' : ''}${names}${value === undefined ? '' : ` ${value}`}`
}
