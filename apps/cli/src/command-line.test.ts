import { closest } from './closest.js'
import { type Flags, parseCommandLine } from './command-line.js'

const FLAGS: Flags = {
  force: { kind: 'switch', short: 'f', summary: '' },
  routes: { kind: 'switch', short: 'r', summary: '' },
  noStart: { kind: 'switch', long: 'no-start', summary: '' },
  instances: { kind: 'count', short: 'i', long: 'instances', summary: '' },
  rate: { kind: 'text', short: 'l', long: 'log-rate-limit', summary: '' },
  buildpack: { kind: 'texts', short: 'b', long: 'buildpack', summary: '' },
}
const parse = (line: string, operands: readonly string[] = ['APP', '[OTHER]']) =>
  parseCommandLine(line.split(' ').filter(Boolean), FLAGS, operands)

describe('taking words apart', () => {
  it.each([
    ['nothing but operands', 'a', { operands: ['a'], flags: {} }],
    ['flags before and behind', '-f a --no-start', { operands: ['a'], flags: { force: true, noStart: true } }],
    ['switches together', 'a -fr', { operands: ['a'], flags: { force: true, routes: true } }],
    ['a switch and a value together', 'a -fi 2', { operands: ['a'], flags: { force: true, instances: 2 } }],
    ['an attached value', 'a -i2', { operands: ['a'], flags: { instances: 2 } }],
    ['a value behind =', 'a -l=-1 --instances=3', { operands: ['a'], flags: { rate: '-1', instances: 3 } }],
    ['a value that begins with a dash', 'a -l -1', { operands: ['a'], flags: { rate: '-1' } }],
    ['values that add up', 'a -b x --buildpack y -b=z', { operands: ['a'], flags: { buildpack: ['x', 'y', 'z'] } }],
    ['the last of two', 'a -i 1 -i 2', { operands: ['a'], flags: { instances: 2 } }],
    ['what follows --', 'a -- -f', { operands: ['a', '-f'], flags: {} }],
  ])('takes %s', (_what, line, expected) => {
    expect(parse(line)).toEqual({ ...expected, wantsHelp: false })
  })

  it.each([
    ['an unknown flag', 'a --nonsense', 'unknown flag --nonsense'],
    ['a flag misspelt', 'a --instnaces 3', 'unknown flag --instnaces; did you mean --instances?'],
    ['an unknown short flag', 'a -fz', 'unknown flag -z'],
    ['a missing value', 'a -i', 'flag -i needs a value'],
    ['no number', 'a -i many', "flag -i takes a whole number, not 'many'"],
    ['a negative number', 'a -i -1', "flag -i takes a whole number, not '-1'"],
    ['a value for a switch', 'a --no-start=yes', 'flag --no-start takes no value'],
    ['a missing operand', '-f', 'the required argument APP was not given'],
    ['one operand too many', 'a b c', "unexpected argument 'c'"],
  ])('refuses %s', (_what, line, message) => {
    expect(() => parse(line)).toThrow(message)
  })

  it('names all operands that are missing', () => {
    expect(() => parse('', ['APP', 'NAME', 'VALUE'])).toThrow('the required arguments APP and NAME and VALUE were not given')
  })
  it.each(['--help', '-h', '-f --help'])('knows that %s asks for help, whatever else is missing', (line) => {
    expect(parse(line).wantsHelp).toBe(true)
  })
})

describe('what was most likely meant', () => {
  it.each([
    ['psuh', 'push'],
    ['log', 'logs'],
    ['restrat', 'restart'],
    ['xyzzy', undefined],
    ['', undefined],
  ])('%s is %s', (word, expected) => {
    expect(closest(word, ['push', 'logs', 'restart', 'restage', 'apps'])).toBe(expected)
  })
})
