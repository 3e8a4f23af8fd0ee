module Hybrid.WebRtc.PropertyTests.DtlsOptionsTests

open Expecto
open Hybrid.WebRtc.Core

let private defaults = DtlsOptions.defaults

let private name (options: DtlsOptions) =
    DtlsOptions.check options |> ValueOption.map (fun mistake -> mistake.Name)

/// The defaults between two versions.
let private range (oldest: DtlsVersion) (newest: DtlsVersion) =
    { defaults with
        MinVersion = oldest
        MaxVersion = newest }

let private v12 = DtlsVersion.Dtls12
let private v13 = DtlsVersion.Dtls13
let private of13 = [| CipherSuite.Aes128GcmSha256 |]
let private of12 = [| CipherSuite.EcdheEcdsaAes128GcmSha256 |]
let private hybrid = [| NamedGroup.X25519MLKEM768 |]

let private withSuites suites options : DtlsOptions = { options with Suites = suites }
let private withGroups groups options : DtlsOptions = { options with Groups = groups }

let tests =
    testList
        "DTLS options"
        [ testCase "each range of versions is good with the defaults" (fun () ->
              for oldest, newest in [ v12, v12; v12, v13; v13, v13 ] do
                  Expect.equal (name (range oldest newest)) ValueNone $"{oldest} to {newest}"

              Expect.equal (name defaults) ValueNone "the defaults")

          testCase "what cannot be spoken is refused by W3C's name" (fun () ->
              let refused =
                  [ "a minimum above the maximum", range v13 v12, ErrorName.RangeError
                    "a version that is none", range (enum 0xfeff) v12, ErrorName.NotSupportedError
                    "1.3 without a suite", range v13 v13 |> withSuites of12, ErrorName.NotSupportedError
                    "1.2 without a suite", range v12 v12 |> withSuites of13, ErrorName.NotSupportedError
                    "both, and a suite for 1.3 alone", range v12 v13 |> withSuites of13, ErrorName.NotSupportedError
                    "both, and a suite for 1.2 alone", range v12 v13 |> withSuites of12, ErrorName.NotSupportedError
                    "no suite", withSuites [||] defaults, ErrorName.NotSupportedError
                    "a suite that is not ours", withSuites [| enum 0xc013 |] defaults, ErrorName.NotSupportedError
                    "a suite twice", withSuites (Array.append of12 of12) (range v12 v12), ErrorName.TypeError
                    "no group", withGroups [||] (range v13 v13), ErrorName.NotSupportedError
                    "a group that is not ours", withGroups [| enum 0x001e |] defaults, ErrorName.NotSupportedError
                    "a group twice", withGroups (Array.append hybrid hybrid) (range v13 v13), ErrorName.TypeError
                    "1.2 with a group of 1.3", withGroups hybrid (range v12 v12), ErrorName.NotSupportedError
                    "both with a group of 1.3", withGroups hybrid (range v12 v13), ErrorName.NotSupportedError ]

              for what, options, expected in refused do
                  Expect.equal (name options) (ValueSome expected) what)

          testCase "what each version needs, and no more, is good" (fun () ->
              for options in
                  [ range v12 v12 |> withSuites of12 |> withGroups [| NamedGroup.Secp384r1 |]
                    range v13 v13 |> withSuites of13 |> withGroups hybrid
                    range v12 v13
                    |> withSuites (Array.append of12 of13)
                    |> withGroups [| NamedGroup.X25519MLKEM768; NamedGroup.Secp256r1 |] ] do
                  Expect.equal (name options) ValueNone $"%A{options}") ]
