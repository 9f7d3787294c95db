import type { Texts } from './en.ts'

const minutes = (seconds: number): string => {
  const count = Math.max(1, Math.ceil(seconds / 60))
  return count === 1 ? '1 Minute' : `${count} Minuten`
}

const invalid: Texts['invalid'] = {
  password_wrong: 'Das aktuelle Passwort ist falsch. Geben Sie es noch einmal ein.',
  password_malformed: 'Das neue Passwort enthält Zeichen, die nicht gespeichert werden können. Wählen Sie ein anderes.',
  password_long: 'Das neue Passwort ist zu lang. Wählen Sie ein kürzeres.',
  password_short: 'Das neue Passwort ist zu kurz. Wählen Sie ein längeres.',
  password_names:
    'Das neue Passwort besteht aus Ihrem Namen, Ihrer E-Mail-Adresse oder dem Namen dieses Dienstes. Wählen Sie ein anderes.',
  password_common: 'Das neue Passwort ist sehr verbreitet und deshalb leicht zu erraten. Wählen Sie ein anderes.',
  email_invalid: 'Das ist keine E-Mail-Adresse. Prüfen Sie die Eingabe, zum Beispiel: name@example.com.',
  full_name_invalid: 'Ein Name hat höchstens 200 Zeichen. Geben Sie einen kürzeren ein.'
}

const errors: Texts['errors'] = {
  client_missing: {
    title: 'Dieser Link ist unvollständig',
    text: () =>
      'Der Link sagt nicht, bei welcher App Sie sich anmelden möchten. Gehen Sie zur App zurück und beginnen Sie dort noch einmal.'
  },
  client_unknown: {
    title: 'Diese App ist nicht registriert',
    text: () =>
      'Die App, von der Sie kommen, ist bei diesem Dienst nicht registriert, oder sie wurde abgeschaltet. Wenden Sie sich an die Betreiber der App.'
  },
  redirect_uri_missing: {
    title: 'Dieser Link ist unvollständig',
    text: () => 'Der Link sagt nicht, wie Sie zur App zurückkommen. Wenden Sie sich an die Betreiber der App.'
  },
  redirect_uri_unknown: {
    title: 'Diesem Link zu folgen ist nicht sicher',
    text: () =>
      'Die App möchte, dass Sie zu einer Adresse zurückkehren, die nicht für sie registriert ist. Niemand hat Ihr Passwort erfahren. Wenden Sie sich an die Betreiber der App.'
  },
  attempt_over: {
    title: 'Dieser Versuch ist beendet',
    text: () =>
      'Er hat zu lange gedauert oder wurde schon in einem anderen Tab abgeschlossen. Gehen Sie zur App zurück und melden Sie sich dort noch einmal an.'
  },
  cookies_off: {
    title: 'Cookies sind abgeschaltet',
    text: () =>
      'Ihr Browser hat unser Cookie nicht gesendet. Erlauben Sie Cookies für diese Seite, gehen Sie zur App zurück und melden Sie sich dort noch einmal an.'
  },
  form_over: {
    title: 'Diese Seite ist veraltet',
    text: () =>
      'Sie haben sich an- oder abgemeldet, seit Sie die Seite geöffnet haben. Gehen Sie zurück, laden Sie die Seite neu und versuchen Sie es noch einmal.'
  },
  cross_site: {
    title: 'Diese Anfrage kam von einer fremden Seite',
    text: () => 'Es wurde nichts geändert. Öffnen Sie die Seite hier und versuchen Sie es noch einmal.'
  },
  not_found: {
    title: 'Diese Seite gibt es nicht',
    text: () => 'Prüfen Sie die Adresse, oder gehen Sie zur Startseite.'
  },
  throttled: {
    title: 'Zu viele Versuche',
    text: (retryAfter) =>
      `Es gab zu viele Fehlversuche. Warten Sie ${minutes(retryAfter)} und versuchen Sie es dann noch einmal.`
  },
  unavailable: {
    title: 'Der Dienst ist ausgelastet',
    text: () => 'Der Dienst kann gerade nicht antworten. Warten Sie ein paar Sekunden und laden Sie die Seite neu.'
  },
  invalid: {
    title: 'Diese Anfrage ist ungültig',
    text: () =>
      'Die Anfrage hat nicht die Form, die diese Seite erwartet. Gehen Sie zurück, laden Sie die Seite neu und versuchen Sie es noch einmal.'
  },
  defect: {
    title: 'Etwas ist schiefgegangen',
    text: () =>
      'Der Dienst hat einen Fehler. Versuchen Sie es später noch einmal, oder wenden Sie sich an die Betreiber.'
  }
}

/** The texts of the pages in German. */
export const de: Texts = {
  signIn: 'Anmelden',
  signInTo: (client) => `Melden Sie sich an, um mit ${client} fortzufahren`,
  yourAccount: 'Ihr Konto',
  apiDocs: 'API-Dokumentation',
  username: 'Benutzername',
  password: 'Passwort',
  useAnotherAccount: 'Anderes Konto verwenden',
  signedInAs: (username) => `Sie sind als ${username} angemeldet.`,
  confirmIdentity: (username) => `Geben Sie das Passwort von ${username} noch einmal ein.`,
  notSignedIn: 'Melden Sie sich an, um Ihr Konto zu sehen und zu ändern.',
  error: 'Fehler',

  signInRefusal(refusal) {
    switch (refusal.kind) {
      case 'incomplete':
        return 'Geben Sie Ihren Benutzernamen und Ihr Passwort ein.'
      case 'wrong':
        return 'Der Benutzername oder das Passwort ist falsch. Prüfen Sie beides und versuchen Sie es noch einmal.'
      case 'disabled':
        return 'Dieses Konto ist abgeschaltet. Wenden Sie sich an die Betreiber dieses Dienstes.'
      case 'throttled':
        return `Es gab zu viele Fehlversuche, deshalb ist die Anmeldung gesperrt. Warten Sie ${minutes(refusal.retryAfter)} und versuchen Sie es dann noch einmal.`
      case 'busy':
        return 'Gerade melden sich zu viele Menschen an. Warten Sie ein paar Sekunden und versuchen Sie es noch einmal.'
      case 'form_over':
        return 'Diese Seite war veraltet, deshalb wurde Ihr Passwort nicht geprüft. Geben Sie es noch einmal ein, um sich anzumelden.'
    }
  },

  fieldRefusal(refusal) {
    switch (refusal.kind) {
      case 'invalid':
        return invalid[refusal.reason]
      case 'throttled':
        return `Es gab zu viele Fehlversuche. Warten Sie ${minutes(refusal.retryAfter)} und versuchen Sie es dann noch einmal.`
      case 'busy':
        return 'Der Dienst ist ausgelastet. Warten Sie ein paar Sekunden und versuchen Sie es noch einmal.'
    }
  },

  chooseAccount: 'Konto wählen',
  chooseAccountFor: (client) => `Wählen Sie das Konto, mit dem Sie bei ${client} fortfahren möchten`,

  consentTitle: (client) => `${client} möchte Ihr Konto verwenden`,
  consentText: (username) => `Sie sind als ${username} angemeldet. Wenn Sie es erlauben, darf die App:`,
  scope: (name, description) => {
    switch (name) {
      case 'openid':
        return 'Wissen, wer Sie sind'
      case 'profile':
        return 'Ihren Namen und Ihre Rollen sehen'
      case 'email':
        return 'Ihre E-Mail-Adresse sehen'
      case 'account':
        return 'Ihr Profil und Ihr Passwort ändern, und Ihre Sitzungen beenden'
      default:
        return description
    }
  },
  consentSignIn: (client) => `${client} erfährt, wer Sie sind, und sonst nichts.`,
  returnsTo: 'Sie kehren zurück zu',
  onThisDevice: (address) => `einer App auf diesem Gerät (${address})`,
  consentDuration: 'Sie können die App jederzeit unter „Ihr Konto“ entfernen.',
  policy: 'Datenschutzerklärung',
  terms: 'Nutzungsbedingungen',
  website: 'Website',
  allow: 'Erlauben',
  cancel: 'Abbrechen',

  returningTitle: 'Sie kehren zur App zurück',
  returningText: 'Wenn nichts passiert, drücken Sie den Knopf.',
  continue: 'Weiter',

  signOut: 'Abmelden',
  signOutTitle: 'Möchten Sie sich abmelden?',
  signOutText: (username) => `Sie sind in diesem Browser als ${username} angemeldet.`,
  signedOut: 'Sie sind abgemeldet',
  signedOutText: 'Sie können diese Seite schließen.',
  staysText:
    'Die App möchte, dass Sie zu einer Adresse zurückkehren, die nicht für sie registriert ist. Deshalb bleiben Sie hier. Sie können diese Seite schließen. Sagen Sie es den Betreibern der App.',
  backTo: (client) => `Zurück zu ${client}`,
  signInAgain: 'Wieder anmelden',

  profile: 'Profil',
  fullName: 'Vollständiger Name',
  email: 'E-Mail-Adresse',
  optional: 'freiwillig',
  save: 'Speichern',
  saved: 'Ihre Änderungen wurden gespeichert.',
  usernameFixed: 'Den Benutzernamen können nur die Betreiber ändern.',

  changePassword: 'Passwort ändern',
  currentPassword: 'Aktuelles Passwort',
  newPassword: 'Neues Passwort',
  passwordHint: (length) =>
    `Mindestens ${length} Zeichen. Mehrere Wörter, die nicht zusammengehören, sind leicht zu merken.`,
  passwordEffect: 'Ihre anderen Browser und alle Apps werden abgemeldet.',
  passwordSaved: 'Ihr Passwort wurde geändert. Ihre anderen Browser und alle Apps wurden abgemeldet.',

  sessions: 'Wo Sie angemeldet sind',
  browsers: 'Browser',
  browsersText:
    'Wer einen dieser Browser benutzt, ist als Sie angemeldet. Beenden Sie die Anmeldungen, die Sie nicht kennen.',
  apps: 'Apps',
  appsText: 'Diese Apps können Ihr Konto verwenden, bis Sie ihre Anmeldung beenden.',
  thisBrowser: 'Dieser Browser',
  unknownDevice: 'Unbekanntes Gerät',
  device: (browser, system) => `${browser} auf ${system}`,
  since: 'Angemeldet',
  lastUsed: 'Zuletzt benutzt',
  address: 'Adresse',
  end: 'Beenden',
  endOf: (name) => `${name} beenden`,
  ended: 'Die Anmeldung wurde beendet.',
  noApps: 'Sie sind bei keiner App angemeldet.',
  more: 'Mehr anzeigen',

  consents: 'Apps mit Zugang',
  consentsText:
    'Diesen Apps wurde erlaubt, Ihr Konto zu verwenden. Wenn Sie eine App entfernen, muss sie Sie noch einmal fragen.',
  mayDo: 'Die App darf:',
  allowedAt: 'Erlaubt',
  remove: 'Entfernen',
  removeOf: (name) => `${name} entfernen`,
  removed: 'Die App wurde entfernt.',
  noConsents: 'Sie haben keiner App Zugang gegeben.',

  errors,
  invalid,
  reference: 'Kennung',
  firstPage: 'Startseite',

  time: (instant) =>
    `${new Intl.DateTimeFormat('de-DE', { dateStyle: 'medium', timeStyle: 'short', timeZone: 'UTC' }).format(instant)} UTC`
}
