import { randomInt } from 'node:crypto'

const ADJECTIVES =
  'able active agile ample bold brave bright calm cheerful clever cool daring eager fair fast fine fluent gentle glad grand happy honest humble keen kind lively lucky mellow merry mighty neat nimble noble patient polite proud quick quiet ready relaxed shiny silent smart smooth sunny swift talkative tidy tranquil unique warm wise witty zesty'.split(
    ' ',
  )
const NOUNS =
  'ant badger bear beaver bison camel cat cheetah civet cougar crane deer dingo dolphin eagle elk emu falcon finch fox gazelle gecko giraffe hare hawk heron ibex jackal jaguar kangaroo koala lark lemur lion lynx marmot mole moose moth numbat ocelot oryx otter owl panda parrot pelican puma quokka rabbit raven seal shark sloth sparrow swan tapir tiger toucan turtle walrus whale wolf wombat yak zebra'.split(
    ' ',
  )
const LETTERS = 'abcdefghijklmnopqrstuvwxyz'
const pick = (from: readonly string[] | string): string => from[randomInt(from.length)] ?? ''
const MAX_LABEL = 63

/** An app's name as a label of a host name. */
export const hostOfName = (name: string): string => toLabel(name).slice(0, MAX_LABEL).replace(/-+$/, '')

/** `shop` → `shop-brave-otter-qx` */
export function randomHost(name: string): string {
  const ending = `-${pick(ADJECTIVES)}-${pick(NOUNS)}-${pick(LETTERS)}${pick(LETTERS)}`
  return `${toLabel(name).slice(0, MAX_LABEL - ending.length)}${ending}`
}

const toLabel = (name: string): string =>
  name
    .toLowerCase()
    .replaceAll(/[^a-z0-9_-]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
