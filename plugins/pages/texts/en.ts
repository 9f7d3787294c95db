import type { InvalidReason } from '../../../src/domain/errors.ts'
import type { ErrorReason, FieldRefusal, SignInRefusal } from '../reasons.ts'

const minutes = (seconds: number): string => {
  const count = Math.max(1, Math.ceil(seconds / 60))
  return count === 1 ? '1 minute' : `${count} minutes`
}

const invalid: Record<InvalidReason, string> = {
  password_wrong: 'The current password is wrong. Enter it again.',
  password_malformed: 'The new password contains characters that cannot be stored. Choose another one.',
  password_long: 'The new password is too long. Choose a shorter one.',
  password_short: 'The new password is too short. Choose a longer one.',
  password_names:
    'The new password consists of your name, your e-mail address or the name of this service. Choose another one.',
  password_common: 'The new password is too common, so it is easy to guess. Choose another one.',
  email_invalid: 'This is not an e-mail address. Check it, for example: name@example.com.',
  full_name_invalid: 'A name has at most 200 characters. Enter a shorter one.'
}

const errors: Record<ErrorReason, { title: string; text: (retryAfter: number) => string }> = {
  client_missing: {
    title: 'This link is incomplete',
    text: () => 'The link does not say which app you want to sign in to. Go back to the app and start again there.'
  },
  client_unknown: {
    title: 'This app is not registered',
    text: () =>
      'The app that sent you here is not registered with this service, or it was switched off. Ask the people who run the app.'
  },
  redirect_uri_missing: {
    title: 'This link is incomplete',
    text: () => 'The link does not say how to return to the app. Ask the people who run the app.'
  },
  redirect_uri_unknown: {
    title: 'This link is not safe to follow',
    text: () =>
      'The app wants you to return to an address that is not registered for it. Nobody has learned your password. Ask the people who run the app.'
  },
  attempt_over: {
    title: 'This attempt is over',
    text: () =>
      'It took too long, or it was already finished in another tab. Go back to the app and sign in again there.'
  },
  cookies_off: {
    title: 'Cookies are switched off',
    text: () =>
      'Your browser did not send our cookie. Allow cookies for this site, go back to the app and sign in again there.'
  },
  form_over: {
    title: 'This page is too old',
    text: () => 'You have signed in or out since you opened the page. Go back, reload the page and try again.'
  },
  cross_site: {
    title: 'This request came from another site',
    text: () => 'Nothing was changed. Open the page on this site and try again there.'
  },
  not_found: {
    title: 'This page does not exist',
    text: () => 'Check the address, or go to the first page.'
  },
  throttled: {
    title: 'Too many attempts',
    text: (retryAfter) => `There were too many failed attempts. Wait ${minutes(retryAfter)}, then try again.`
  },
  unavailable: {
    title: 'The service is busy',
    text: () => 'The service cannot answer at the moment. Wait a few seconds, then reload the page.'
  },
  invalid: {
    title: 'This request is not valid',
    text: () => 'The request does not have the form that this page expects. Go back, reload the page and try again.'
  },
  defect: {
    title: 'Something went wrong',
    text: () => 'The service has failed. Try again later, or tell the people who run it.'
  }
}

/** The texts of the pages in English. */
export const en = {
  signIn: 'Sign in',
  signInTo: (client: string) => `Sign in to continue to ${client}`,
  yourAccount: 'Your account',
  apiDocs: 'API docs',
  username: 'Username',
  password: 'Password',
  useAnotherAccount: 'Use another account',
  signedInAs: (username: string) => `You are signed in as ${username}.`,
  confirmIdentity: (username: string) => `Enter the password of ${username} again.`,
  notSignedIn: 'Sign in to see and change your account.',
  error: 'Error',

  signInRefusal(refusal: SignInRefusal): string {
    switch (refusal.kind) {
      case 'incomplete':
        return 'Enter your username and your password.'
      case 'wrong':
        return 'The username or the password is wrong. Check both and try again.'
      case 'disabled':
        return 'This account is switched off. Ask the people who run this service.'
      case 'throttled':
        return `There were too many failed attempts, so sign-in is locked. Wait ${minutes(refusal.retryAfter)}, then try again.`
      case 'busy':
        return 'Too many people are signing in at the moment. Wait a few seconds, then try again.'
      case 'form_over':
        return 'This page was out of date, so your password was not checked. Enter it again to sign in.'
    }
  },

  fieldRefusal(refusal: FieldRefusal): string {
    switch (refusal.kind) {
      case 'invalid':
        return invalid[refusal.reason]
      case 'throttled':
        return `There were too many failed attempts. Wait ${minutes(refusal.retryAfter)}, then try again.`
      case 'busy':
        return 'The service is busy. Wait a few seconds, then try again.'
    }
  },

  chooseAccount: 'Choose an account',
  chooseAccountFor: (client: string) => `Choose the account with which you want to continue to ${client}`,

  consentTitle: (client: string) => `${client} wants to use your account`,
  consentText: (username: string) => `You are signed in as ${username}. If you allow it, the app may:`,
  /** Returns what a scope allows. Scopes of other services have only the words with which they were registered. */
  scope: (_name: string, description: string) => description,
  consentSignIn: (client: string) => `${client} learns who you are, and nothing else.`,
  returnsTo: 'You return to',
  onThisDevice: (address: string) => `an app on this device (${address})`,
  consentDuration: 'You can remove the app at any time under “Your account”.',
  policy: 'Privacy policy',
  terms: 'Terms of use',
  website: 'Website',
  allow: 'Allow',
  cancel: 'Cancel',

  returningTitle: 'You return to the app',
  returningText: 'If nothing happens, press the button.',
  continue: 'Continue',

  signOut: 'Sign out',
  signOutTitle: 'Do you want to sign out?',
  signOutText: (username: string) => `You are signed in as ${username} in this browser.`,
  signedOut: 'You are signed out',
  signedOutText: 'You can close this page.',
  staysText:
    'The app wants you to return to an address that is not registered for it, so you stay here. You can close this page. Tell the people who run the app.',
  backTo: (client: string) => `Back to ${client}`,
  signInAgain: 'Sign in again',

  profile: 'Profile',
  fullName: 'Full name',
  email: 'E-mail address',
  optional: 'optional',
  save: 'Save',
  saved: 'Your changes were saved.',
  usernameFixed: 'Only an administrator can change the username.',

  changePassword: 'Change password',
  currentPassword: 'Current password',
  newPassword: 'New password',
  passwordHint: (length: number) =>
    `At least ${length} characters. Several words that do not belong together are easy to remember.`,
  passwordEffect: 'Your other browsers and all apps are signed out.',
  passwordSaved: 'Your password was changed. Your other browsers and all apps were signed out.',

  sessions: 'Where you are signed in',
  browsers: 'Browsers',
  browsersText: 'A person who uses one of these browsers is signed in as you. End the browsers that you do not know.',
  apps: 'Apps',
  appsText: 'These apps can use your account until they are ended.',
  thisBrowser: 'This browser',
  unknownDevice: 'Unknown device',
  device: (browser: string, system: string) => `${browser} on ${system}`,
  since: 'Signed in',
  lastUsed: 'Last used',
  address: 'Address',
  end: 'End',
  endOf: (name: string) => `End ${name}`,
  ended: 'It was ended.',
  noApps: 'You are signed in to no app.',
  more: 'Show more',

  consents: 'Apps you let in',
  consentsText: 'These apps were allowed to use your account. After you remove an app, it must ask you again.',
  mayDo: 'The app may:',
  allowedAt: 'Allowed',
  remove: 'Remove',
  removeOf: (name: string) => `Remove ${name}`,
  removed: 'It was removed.',
  noConsents: 'You have let in no app.',

  errors,
  invalid,
  reference: 'Reference',
  firstPage: 'Home page',

  time: (instant: number): string =>
    `${new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short', timeZone: 'UTC' }).format(instant)} UTC`
}

/** The texts of one language. */
export type Texts = typeof en
